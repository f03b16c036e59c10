"""The data of a Hessian, micro-batch by micro-batch: forward passes that begin at a decoder layer, within a memory budget."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from lorabench.errors import UserError
from lorabench.models.shapes import decoder_layers
from lorabench.training.data import Encoded, micro_batches
from lorabench.training.loss import summed_loss

ATTENTION = ("math", "eager")
"""Attention that can be differentiated twice; fused kernels have no second derivative."""

IMPLEMENTATIONS = ("sdpa", "grouped_sdpa", "eager")
"""Those of a loaded model that can be made so, by Transformers' names."""


@dataclass(frozen=True)
class Budget:
    """How the data are cut.

    Attributes:
        bytes: what the graphs may hold at a time.
        micro_batch_tokens: most tokens of a micro-batch, padding included.
        max_padding: largest share of padding in a micro-batch.
        key: what stands before ``memory_gb`` on the command line.
    """

    bytes: int
    micro_batch_tokens: int
    max_padding: float
    key: str = "hessian"


@dataclass(frozen=True)
class Batch:
    """A micro-batch: its sequences, their places among all, and the layer's input [batch, time, width] in main memory."""

    examples: list[Encoded]
    places: list[int]
    hidden: torch.Tensor

    @property
    def area(self) -> int:
        """Tokens with padding."""
        return self.hidden.shape[0] * self.hidden.shape[1]

    @property
    def targets(self) -> int:
        """Target tokens."""
        return sum(example.target_tokens for example in self.examples)


class _Reached(Exception):
    """Ends a forward pass."""


class Passes:
    """Passes of a frozen model over ``examples`` that begin at one decoder layer, whose inputs are computed once.

    The loss is the trainer's: cross entropy over the target tokens, here divided by their number in all of ``examples``.

    Attributes:
        first: index of the decoder layer.
        targets: number of target tokens.
    """

    def __init__(self, model: Any, examples: Sequence[Encoded], first: int, pad: int, attention: str = "math"):
        self.model, self.examples, self.first, self.pad, self.attention = model, list(examples), first, pad, attention
        self.targets = sum(example.target_tokens for example in examples)
        self._layers = decoder_layers(model)
        self._several = False  # whether layers give more than the hidden states
        check(model, self.targets, attention)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    def batches(self, micro_batch_tokens: int, max_padding: float) -> list[Batch]:
        """Sequences of like length together, with the inputs of the layer."""
        groups = micro_batches([len(example.ids) for example in self.examples], micro_batch_tokens, max_padding)
        return [self.batch(places) for places in groups]

    def batch(self, places: list[int]) -> Batch:
        """The micro-batch of the sequences at these places."""
        examples = [self.examples[place] for place in places]
        caught: list[torch.Tensor] = []

        def catch(_: Any, args: tuple[Any, ...]) -> None:
            caught.append(args[0])
            raise _Reached

        def see(_: Any, __: tuple[Any, ...], output: Any) -> None:
            self._several = isinstance(output, tuple)

        handles = [self._layers[0].register_forward_hook(see), self._layers[self.first].register_forward_pre_hook(catch)]
        try:
            with torch.no_grad(), contextlib.suppress(_Reached):
                summed_loss(self.model, examples, self.pad, self.device)
        finally:
            for handle in handles:
                handle.remove()
        return Batch(examples, places, caught[0].to("cpu"))

    def loss(self, batch: Batch) -> torch.Tensor:
        """The part of this micro-batch in the mean loss; the layers below the first one are not run again."""
        with self._entering(batch.hidden.to(self.device)), differentiable_attention(self.model, self.attention):
            return summed_loss(self.model, batch.examples, self.pad, self.device) / self.targets

    @contextlib.contextmanager
    def _entering(self, hidden: torch.Tensor) -> Iterator[None]:
        """The layers below hand on what they get, and the first one gets ``hidden``."""
        below = self._layers[: self.first]
        for layer in below:
            layer.forward = _hand_on_first if self._several else _hand_on
        handle = self._layers[self.first].register_forward_pre_hook(lambda _, args: (hidden, *args[1:]))
        try:
            yield
        finally:
            handle.remove()
            for layer in below:
                del layer.forward


def _hand_on(hidden: Any, *_: Any, **__: Any) -> Any:
    return hidden


def _hand_on_first(hidden: Any, *_: Any, **__: Any) -> Any:
    return hidden, None


def check(model: Any, targets: int, attention: str) -> None:
    """Raise UserError unless second derivatives of the fine-tuning loss exist and mean something."""
    check_attention(attention)
    if model.config._attn_implementation not in IMPLEMENTATIONS:
        raise UserError(
            f"the model's attention '{model.config._attn_implementation}' has no second derivative; "
            f"load it with {IMPLEMENTATIONS[0]}"
        )
    if model.training:
        raise UserError("the model is in train mode, where dropout makes the loss random; call model.eval()")
    wrong = {p.dtype for p in model.parameters()} - {torch.float32}
    if wrong:
        name = str(wrong.pop()).removeprefix("torch.")
        raise UserError(f"second derivatives need float32, and the model has weights in {name}; use model.dtype=float32")
    if targets == 0:
        raise UserError("the data have no target token (trainer.max_length cut them all off?), so there is no loss")


def check_attention(attention: str, key: str = "attention") -> None:
    """Raise UserError, which calls it ``key``, unless this attention can be differentiated twice."""
    if attention not in ATTENTION:
        available = ", ".join(ATTENTION)
        raise UserError(f"{key}={attention} has no second derivative (fused kernels have none); available: {available}")


@contextlib.contextmanager
def differentiable_attention(model: Any, attention: str) -> Iterator[None]:
    """Attention that can be differentiated twice: torch's composite kernel, or Transformers' own code."""
    before = model.config._attn_implementation
    if attention == "eager" and before != "eager":
        model.set_attn_implementation("eager")
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        if model.config._attn_implementation != before:
            model.set_attn_implementation(before)
