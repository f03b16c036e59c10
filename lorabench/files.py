"""Files: whole or not at all, known by their content, and a cache folder that is safe to delete."""

import contextlib
import hashlib
import json
import math
import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def replaced(file: Path) -> Iterator[Path]:
    """Yield a scratch path beside ``file``, whose folder is made; it takes its place at the end, by atomic rename.

    Readers see a whole file or what was before, which stays where the body raises; of several writers the last one wins. At its
    end content and name are on the disk, as far as that does what it says: power may fail at any moment.
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


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync(folder: Path) -> None:
    """Bring what lies in a folder, and its own name, to the disk, as far as the file system can."""
    for place in (*folder.rglob("*"), folder, folder.parent):
        with contextlib.suppress(OSError):
            _sync(place, os.O_RDONLY | (os.O_DIRECTORY if place.is_dir() else 0))


def beside(file: Path) -> Path:
    """Where a damaged file or folder is put: ``NAME.damaged``, or ``NAME.damaged.2`` and so on where that is taken."""
    place, number = file.with_name(f"{file.name}.damaged"), 1
    while os.path.lexists(place):
        number += 1
        place = file.with_name(f"{file.name}.damaged.{number}")
    return place


def remove_leftovers(folder: Path, name: str = "*") -> None:
    """Remove the scratch files of ``replaced`` that killed processes have left, where no other process can be writing now."""
    for scratch in folder.glob(f"{name}.*.tmp"):
        scratch.unlink(missing_ok=True)


def read_json(file: Path) -> dict[str, Any] | None:
    """Return the object that a file holds, or None where there is none that can be read."""
    try:
        content = json.loads(file.read_bytes())
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, ValueError, RecursionError):  # the last two: no JSON
        return None
    return content if isinstance(content, dict) else None


def write_json(file: Path, content: dict[str, Any]) -> None:
    """Write JSON by atomic rename. NaN and infinity become null."""
    with replaced(file) as scratch:
        scratch.write_text(json.dumps(finite(content), indent=1) + "\n")


def finite(value: Any) -> Any:
    """The value with null for each number that is not finite, of which JSON has none."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def cache_dir(*parts: str) -> Path:
    """Return (and make) a folder under ``$LORABENCH_CACHE``, by default ``lorabench`` in the user's cache folder."""
    default = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "lorabench"
    folder = Path(os.environ.get("LORABENCH_CACHE", default)).joinpath(*parts)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def file_hash(path: Path) -> str:
    """SHA-256 of a file's content, computed once per process for an unchanged file."""
    stat = path.stat()
    return _file_hash(path.resolve(), stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=4096)
def _file_hash(path: Path, size: int, modified: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder_hash(folder: Path) -> str:
    """Hash of the names and contents of a folder's files, at every depth; Python's caches and hidden files do not count."""
    files = {file.relative_to(folder): file for file in folder.rglob("*") if file.is_file()}
    counted = {name: file for name, file in files.items() if not any(p.startswith((".", "__pycache__")) for p in name.parts)}
    return digest({name.as_posix(): file_hash(file) for name, file in counted.items()})


def digest(content: Any) -> str:
    """16 hex digits of the SHA-256 of the canonical JSON of a value (sorted keys; 16 and 16.0 are one number).

    >>> digest({"a": 16, "b": [1.5]}) == digest({"b": (1.5,), "a": 16.0})
    True
    """
    return hashlib.sha256(canonical_json(content).encode()).hexdigest()[:16]


def canonical_json(content: Any) -> str:
    """The JSON of a value of which ``digest`` is the hash."""
    return json.dumps(_canonical(content), sort_keys=True, separators=(",", ":"))


def _canonical(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _canonical(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
