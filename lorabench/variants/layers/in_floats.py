"""A quantised layer beside an adapter as one of floats, for merging."""

import contextlib
import importlib
from collections.abc import Iterator
from typing import Any

import torch

from lorabench.models.quantised import dequantised

ASKED = {"fan_in_fan_out": False, "quantization_backend": None}
"""What PEFT's plain layers ask of themselves, as it is on a plain linear layer."""


@contextlib.contextmanager
def in_floats(layer: Any) -> Iterator[None]:
    """Let one of PEFT's layers stand on a plain linear layer of what its quantised weight stands for; a plain one stays.

    PEFT merges into a quantised layer by dequantising it, adding ΔW, and quantising the sum, which rounds ΔW away where it is
    small. Here the layer is of PEFT's plain kind meanwhile, so that what is added, as a matrix, stays as it is.
    """
    base, kind = layer.get_base_layer(), type(layer)
    if base.weight.is_floating_point():
        yield
        return
    plain = torch.nn.Linear(base.in_features, base.out_features, bias=False, device="meta")
    plain.weight, plain.bias = torch.nn.Parameter(dequantised(base), requires_grad=False), base.bias
    own = {key: vars(layer)[key] for key in ASKED if key in vars(layer)}
    layer.base_layer, layer.__class__ = plain, _plain(kind)
    vars(layer).update(ASKED)
    try:
        yield
    finally:
        layer.base_layer, layer.__class__ = base, kind
        for key in ASKED:
            del vars(layer)[key]
        vars(layer).update(own)


def _plain(kind: type) -> type:
    """PEFT's layer of floats for one of bitsandbytes; one that knows no kinds of bases is both."""
    package, _, module = kind.__module__.rpartition(".")
    if module != "bnb":
        return kind
    return getattr(importlib.import_module(f"{package}.layer"), "SVDLinear" if kind.__name__.startswith("SVD") else "Linear")
