"""Records, the JSON that a finished cell leaves, and the lock under which it is made."""

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from lorabench.provenance import git_state, versions
from lorabench.schema import ModelConfig

SCHEMA_VERSION = 2


@contextlib.contextmanager
def lock(file: Path, wait: bool) -> Iterator[bool]:
    """Hold the lock of a cell; yield False at once when another process has it and ``wait`` is false.

    The lock belongs to the open file, so it ends with the process, however that ends.
    """
    held = FileLock(file)
    try:
        held.acquire(timeout=-1 if wait else 0)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        held.release()


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def scored_now() -> dict[str, Any]:
    """Time, versions and commit of a scorer that works apart from the run that made the completions."""
    return {"finished": now(), "versions": versions(), "git": git_state()}


def model_state(spec: ModelConfig, fingerprint: str) -> dict[str, Any]:
    """What the record says of the base model."""
    return {"name": spec.name, "fingerprint": fingerprint, "weights": spec.weights}
