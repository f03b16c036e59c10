"""Files that appear whole or not at all."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replaced(file: Path) -> Iterator[Path]:
    """A scratch file beside ``file``, whose folder is made; it takes its place where the block ends without an error.

    Readers see the whole or what was before, and of several processes that write, the last one wins. At its end content and
    name are on the disk.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    scratch = file.with_name(f"{file.name}.{os.getpid()}.tmp")
    try:
        yield scratch
        _sync(scratch, os.O_RDONLY)
        os.replace(scratch, file)
        with contextlib.suppress(OSError):  # some file systems have no way to write a folder down
            _sync(file.parent, os.O_RDONLY | os.O_DIRECTORY)
    finally:
        scratch.unlink(missing_ok=True)


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
