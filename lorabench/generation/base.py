"""What a generator is."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar

import torch

from lorabench.errors import PromptTooLong, UserError
from lorabench.models.base import Base
from lorabench.terminal.bars import note


class Generator(ABC):
    """Greedy text generation; one generator serves a whole sweep, weights are put into it.

    Two generators give the same texts up to numerical ties. A tie is a step at which the two largest logits are closer than the
    rounding errors of the arithmetic: some 1e-4 in float32, some 0.1 in bfloat16, where a step of the numbers near 16 is 0.125.
    Sums in another order then choose the other token, and the rest of that text may be another one; neither is the right one.

    Attributes:
        serves_adapted: whether it takes a model that PEFT has adapted, for what no plain weights hold.
        key: where the generator's settings are on the command line.
    """

    version: ClassVar[int] = 1
    serves_adapted: ClassVar[bool] = False
    key: str = "evaluator"

    @cached_property
    def _noted(self) -> set[str]:
        return set()

    def prepare(self) -> None:
        """Get what is needed besides a model, before anything is trained; UserError where it cannot be had."""
        return

    def main_memory(self, size: int, device_type: str) -> dict[str, int]:
        """Bytes of main memory, by what they hold, that it takes beside a base of ``size`` bytes on a ``cpu`` or ``cuda``."""
        return {}

    @abstractmethod
    def load(self, base: Base) -> None:
        """Make ready to serve this base model."""

    @abstractmethod
    def use(self, merged: dict[str, torch.Tensor] | None) -> None:
        """Serve the base with these weights replaced (names as in the base model), or the base itself for None."""

    def use_adapted(self, model: Any) -> None:
        """Serve this model, the loaded base with a variant attached, until None is given; of those with ``serves_adapted``."""
        raise NotImplementedError(f"{type(self).__name__} serves merged weights alone")

    @abstractmethod
    def generate(self, prompts: Sequence[str], max_new_tokens: int, stop: Sequence[str] = ()) -> list[str]:
        """Return one completion a prompt, in order, up to the end token, ``max_new_tokens`` or before a text of ``stop``.

        Raises:
            UserError: a prompt that leaves no room for an answer, see ``answer_limits``.
        """

    @property
    @abstractmethod
    def max_length(self) -> int:
        """Tokens of a context and its continuation, the last one not counted, that ``loglikelihoods`` takes."""

    @abstractmethod
    def loglikelihoods(self, pairs: Sequence[tuple[Sequence[int], Sequence[int]]]) -> list[tuple[float, bool]]:
        """Score given continuations with the weights that are served now.

        Args:
            pairs: token ids of a context (at least one) and of its continuation; together at most ``max_length`` + 1, since
                the last token is only predicted.

        Returns:
            For each pair, in order, Σ log p(token | context, tokens before it) over the continuation in nats, and whether
            greedy decoding of the context would give the continuation.
        """

    @abstractmethod
    def close(self) -> None:
        """Free what the generator holds, the base included; it is ready to be loaded again."""

    @property
    def lowered(self) -> dict[str, int]:
        """Settings that memory has lowered since ``load``, by their keys."""
        return {}

    def extra_results(self) -> dict[str, Any]:
        """Measure more of the weights that are served now; every entry becomes one of the cell's record."""
        return {}

    def answer_limits(self, lengths: Sequence[int], max_new_tokens: int, max_length: int) -> list[int]:
        """New tokens for prompts of these lengths: ``max_new_tokens``, or what the model's ``max_length`` leaves of them.

        No generator goes beyond the length that a model was made for, so that all give the same answers. A user reads so once.

        Raises:
            PromptTooLong: a prompt that fills the model alone.
        """
        longest = max(lengths, default=0)
        if min(lengths, default=1) == 0:
            raise UserError("a prompt has no token; give it a text")
        if longest >= max_length:
            text = f"a prompt of {longest} tokens leaves no room for an answer in the {max_length} that the model takes"
            raise PromptTooLong(text, list(lengths).index(longest))
        if longest + max_new_tokens > max_length:
            text = (
                f"the model takes {max_length} tokens: where a prompt leaves fewer than {max_new_tokens}, its answer ends there"
            )
            if text not in self._noted:
                self._noted.add(text)
                note(text)
        return [min(max_new_tokens, max_length - length) for length in lengths]
