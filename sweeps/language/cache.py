"""Embeddings on disk, where the next search finds them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from sweeps.files import replaced


def from_cache(file: Path, compute: Callable[[], np.ndarray]) -> np.ndarray:
    """The array of a ``.npy`` file, which is computed and written first if there is none; read from there as it is needed."""
    if not file.exists():
        array = compute()
        with replaced(file) as scratch, scratch.open("wb") as stream:
            np.save(stream, array)
    mapped: np.ndarray = np.load(file, mmap_mode="r")
    return mapped
