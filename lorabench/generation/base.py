"""What a generator is."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from lorabench.models import Base


class Generator(ABC):
    """Greedy text generation; one generator serves a whole sweep, weights are put into it."""

    def prepare(self) -> None:
        """Get what is needed besides a model, before anything is trained; UserError where it cannot be had."""
        return

    @abstractmethod
    def load(self, base: "Base") -> None:
        """Make ready to serve this base model."""

    @abstractmethod
    def use(self, merged: "dict[str, torch.Tensor] | None") -> None:
        """Serve the base with these weights replaced (names as in the base model), or the base itself for None."""

    @abstractmethod
    def generate(self, prompts: Sequence[str], max_new_tokens: int, stop: Sequence[str] = ()) -> list[str]:
        """Return one completion a prompt, in order, up to the end token, ``max_new_tokens`` or before a text of ``stop``."""

    @abstractmethod
    def loglikelihoods(self, pairs: Sequence[tuple[Sequence[int], Sequence[int]]]) -> list[tuple[float, bool]]:
        """Score given continuations with the weights that are served now.

        Args:
            pairs: token ids of a context (at least one) and of its continuation; together no longer than the model takes.

        Returns:
            For each pair, in order, Σ log p(token | context, tokens before it) over the continuation in nats, and whether
            greedy decoding of the context would give the continuation.
        """

    def close(self) -> None:
        """Free what the generator holds; it is ready to be loaded again."""
        return

    def extra_results(self) -> dict[str, Any]:
        """Measure more of the weights that are served now; every entry becomes one of the cell's record."""
        return {}
