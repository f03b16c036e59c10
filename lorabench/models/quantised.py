"""Quantised bases: frozen linear layers in 4 or 8 bits by bitsandbytes, beside adapters in float32."""

import importlib.util
import logging
from typing import Any

import torch

from lorabench.errors import UserError
from lorabench.models.shapes import linear_layers
from lorabench.schema import ModelConfig

KINDS = ("nf4", "int8")
WAY = "pip install 'lorabench[quantised]' (in a checkout pip install -e '.[quantised]')"


def check(spec: ModelConfig) -> None:
    """Raise UserError unless the quantisation of a model is one that can be had here."""
    if spec.quantization is None:
        return
    if spec.quantization not in KINDS:
        raise UserError(f"model.quantization={spec.quantization} is unknown; available: {', '.join(KINDS)}, or null for none")
    if importlib.util.find_spec("bitsandbytes") is None:
        raise UserError(f"model.quantization={spec.quantization} needs the package bitsandbytes: {WAY}")


def check_layers(model: Any, name: str) -> None:
    """Raise UserError unless bitsandbytes has a form of all that would be quantised.

    Args:
        model: with or without weights.
        name: of it, for the error.
    """
    odd = [key for key, layer in linear_layers(model).items() if type(layer) is not torch.nn.Linear]
    if odd:
        kind = type(linear_layers(model)[odd[0]]).__name__
        raise UserError(f"model={name}: {odd[0]} is a {kind}, which is not quantised here; leave model.quantization out")


def quantise(model: Any, kind: str, device: torch.device, dtype: torch.dtype) -> None:
    """Put a quantised layer in the place of each linear one but the output head.

    ``nf4``: 4 bits, the quantiles of a normal distribution times the largest magnitude of 64 values (Dettmers et al. 2023,
    arXiv 2305.14314); products are those of the weight that they stand for, in ``dtype``. ``int8``: whole numbers times the
    largest magnitude of a row, products in int8 with inputs rounded token by token (Dettmers et al. 2022, arXiv 2208.07339,
    without its columns of outliers, by which a token's result would depend on the others of its micro-batch).

    Args:
        model: frozen, in main memory.
        kind: one of ``KINDS``.
        device: where the layers go.
        dtype: of the base.
    """
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # a line for each layer and pass, that inputs are rounded
    for name, layer in linear_layers(model).items():
        made = _nf4(layer, dtype) if kind == "nf4" else _int8(layer)
        made.bias, made.plain_dtype = layer.bias, dtype
        parent, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(parent), leaf, made.to(device))
    setattr(model, {"nf4": "is_loaded_in_4bit", "int8": "is_loaded_in_8bit"}[kind], True)  # what PEFT asks


def _nf4(layer: Any, dtype: torch.dtype) -> Any:
    import bitsandbytes

    sizes = {"bias": layer.bias is not None, "device": "meta"}
    made = bitsandbytes.nn.Linear4bit(layer.in_features, layer.out_features, compute_dtype=dtype, quant_type="nf4", **sizes)
    made.weight = bitsandbytes.nn.Params4bit(
        layer.weight.data, requires_grad=False, quant_type="nf4", compress_statistics=False, module=made
    )
    made.support_avx512bf16_for_cpu = False  # it would pack the weights in another way for passes without gradients
    return made


def _int8(layer: Any) -> Any:
    import bitsandbytes

    sizes = {"bias": layer.bias is not None, "device": "meta"}
    made = bitsandbytes.nn.Linear8bitLt(layer.in_features, layer.out_features, has_fp16_weights=False, threshold=0.0, **sizes)
    made.weight = bitsandbytes.nn.Int8Params(layer.weight.data, requires_grad=False, has_fp16_weights=False)
    made.register_forward_hook(_copied)
    return made


def _copied(_: Any, __: Any, output: torch.Tensor) -> torch.Tensor:
    """int8's function gives a view, to which no adapter can add in place."""
    return output.clone()


def quantised_layers(model: Any) -> dict[str, Any]:
    """The layers that ``quantise`` made, by name; beside an adapter they are its ``base_layer``."""
    return {name: layer for name, layer in model.named_modules() if "plain_dtype" in vars(layer)}


def dequantised(layer: Any) -> torch.Tensor:
    """W [m, n] that a layer's bits stand for, a tensor of its own in the precision of the base.

    With it a layer of ``nf4`` computes the same, up to the order of sums. One of ``int8`` rounds its inputs, too, each token to
    255 steps of its largest magnitude, which plain weights do not.
    """
    import bitsandbytes

    weight = layer.weight
    if isinstance(weight, bitsandbytes.nn.Params4bit):
        plain = bitsandbytes.functional.dequantize_4bit(weight.data, weight.quant_state)
    else:  # the first pass moves the rows' magnitudes from the weight to the layer
        largest = weight.SCB if layer.state.SCB is None else layer.state.SCB
        plain = weight.data.float() * (largest.to(weight.device).float() / 127)[:, None]
    return plain.to(layer.plain_dtype)
