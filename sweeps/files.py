"""Files that appear whole or not at all."""

import contextlib
import glob
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
    except BaseException:
        with contextlib.suppress(OSError):  # who still has it open would keep the room of a full disk
            os.truncate(scratch, 0)
        raise
    finally:
        scratch.unlink(missing_ok=True)


def remove_leftovers(file: Path) -> None:
    """Remove scratch files of ``file`` that killed processes have left, where no other process can be writing now."""
    for scratch in file.parent.glob(f"{glob.escape(file.name)}.*.tmp"):
        scratch.unlink(missing_ok=True)


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
