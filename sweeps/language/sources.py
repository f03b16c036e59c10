"""Where a search's language model comes from."""

from pathlib import Path
from typing import Any, Protocol


class Source(Protocol):
    """An encoder, loaded when it is called."""

    @property
    def causal(self) -> bool:
        """Whether it is a decoder, or else a model of sentences (``sweeps.language.sentences``); nothing is loaded."""

    def __call__(self) -> tuple[Any, Any, str, int, Path]:
        """The model, its tokenizer, the weights' fingerprint, the most tokens it reads, and a folder for embeddings."""
