"""The cache folder: converted models and other things that can be made again. Safe to delete."""

import hashlib
import os
from pathlib import Path


def cache_dir(*parts: str) -> Path:
    """Return (and make) a folder under ``$LORABENCH_CACHE``, by default ``lorabench`` in the user's cache folder."""
    default = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "lorabench"
    folder = Path(os.environ.get("LORABENCH_CACHE", default)).joinpath(*parts)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


_HASHES: dict[tuple[str, int, int], str] = {}


def file_hash(path: Path) -> str:
    """SHA-256 of a file's content, computed once per process for an unchanged file."""
    stat = path.stat()
    key = (str(path.resolve()), stat.st_size, stat.st_mtime_ns)
    if key not in _HASHES:
        with path.open("rb") as file:
            _HASHES[key] = hashlib.file_digest(file, "sha256").hexdigest()
    return _HASHES[key]
