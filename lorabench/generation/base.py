"""What a generator is."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from lorabench.models import Base


class Generator(ABC):
    """Greedy text generation; one generator serves a whole sweep, weights are put into it."""

    @abstractmethod
    def load(self, base: "Base") -> None:
        """Make ready to serve this base model."""

    @abstractmethod
    def use(self, merged: "dict[str, torch.Tensor] | None") -> None:
        """Serve the base with these weights replaced (names as in the base model), or the base itself for None."""

    @abstractmethod
    def generate(self, prompts: Sequence[str], max_new_tokens: int, stop: Sequence[str] = ()) -> list[str]:
        """Return one completion a prompt, in order, up to the end token, ``max_new_tokens`` or before a text of ``stop``."""
