"""Tensors in a file that knows its own hash: a bit that flipped on the disk would go on as another training."""

import hashlib
import io
import mmap
from pathlib import Path
from typing import Any

import torch

from lorabench.files import replaced

BYTES = hashlib.sha256().digest_size


class Damaged(Exception):
    """A file is not what was written; the text says how it shows."""


class _Written(io.FileIO):
    """A file that writes all or raises, and keeps the error: torch tells of a full disk in words of its own."""

    error: OSError | None = None

    def write(self, data: Any) -> int:
        left = memoryview(data).cast("B")
        size = len(left)
        try:
            while left:
                left = left[super().write(left) :]
        except OSError as error:
            self.error = error
            raise
        return size


def write_sealed(file: Path, state: dict[str, Any]) -> None:
    """Write a state as ``torch.save`` does, with the SHA-256 of that behind it, by atomic rename."""
    with replaced(file) as scratch, _Written(scratch, "w+b") as written:
        try:
            torch.save(state, written)
        except RuntimeError:
            if written.error is None:
                raise
            raise written.error from None
        written.seek(0)
        seal = hashlib.file_digest(written, "sha256").digest()
        written.seek(0, 2)
        written.write(seal)


def read_sealed(file: Path) -> dict[str, Any]:
    """What ``write_sealed`` wrote, on the CPU; nothing in the file is run.

    Raises:
        Damaged: it is none, or not the same any more.
    """
    with file.open("rb") as written:
        size = written.seek(0, 2) - BYTES
        if size <= 0:
            raise Damaged("too short")
        with mmap.mmap(written.fileno(), size, access=mmap.ACCESS_READ) as content:
            written.seek(size)
            if hashlib.sha256(content).digest() != written.read():
                raise Damaged("its hash is another one")
            try:
                state = torch.load(content, map_location="cpu", weights_only=True)  # type: ignore[arg-type]
            except Exception as error:  # torch raises many kinds
                raise Damaged(type(error).__name__) from error
    if not isinstance(state, dict):
        raise Damaged("no state")
    return state
