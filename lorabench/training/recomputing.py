"""Gradient checkpointing: of each decoder layer the inputs are kept for the backward pass, which computes the rest again."""

import contextlib
from collections.abc import Iterator
from functools import partial
from typing import Any

from torch.utils.checkpoint import checkpoint
from transformers import Cache

from lorabench.errors import UserError
from lorabench.models.shapes import decoder_layers


@contextlib.contextmanager
def recomputing(model: Any, wanted: bool) -> Iterator[None]:
    """Let the decoder layers of a model keep nothing but their inputs (Chen et al. 2016, arXiv 1604.06174), where ``wanted``.

    The second pass of a layer has the bits of the first: masks of dropout are decided by place (``dropout.Masks``), and torch
    restores its generators and autocast. transformers' own switch acts in training mode alone, which the base is never in.

    Raises:
        UserError: layers that cannot be found, or that write to a cache, which a second pass would fill again.
    """
    layers = decoder_layers(model) if wanted else ()
    for layer in layers:
        layer.forward = partial(_checkpointed, layer.forward)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


def _checkpointed(forward: Any, *args: Any, **kwargs: Any) -> Any:
    if any(isinstance(value, Cache) for value in (*args, *kwargs.values())):
        raise UserError(
            "trainer.gradient_checkpointing=true: this method hands its layers keys and values of its own, which a second pass "
            "would add again; leave it false"
        )
    return checkpoint(forward, *args, use_reentrant=False, **kwargs)
