"""Who holds a cell: a lock, and beside it a file that says so to those that wait."""

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from lorabench.files import read_json, write_json
from lorabench.provenance import now
from lorabench.terminal.bars import note

PATIENCE = 60.0
"""Seconds of waiting after which a line says for whom."""


@contextlib.contextmanager
def held(lock: Path, what: str, wait: bool = True) -> Iterator[bool]:
    """Hold a lock; yield False at once when another process has it and ``wait`` is false.

    It belongs to the open file, so it ends with the process, however that ends. Who waits longer than `PATIENCE` says for whom.

    Args:
        lock: the file.
        what: it stands for, in that line.
        wait: for another process.
    """
    holding = FileLock(lock)
    said = ""
    while True:
        try:
            holding.acquire(timeout=PATIENCE if wait else 0)
            break
        except Timeout:
            if not wait:
                yield False
                return
            if (text := f"waiting for {what}: {holder(lock)}") != said:  # once more where the holder has been stopped since
                note(said := text)
    try:
        write_json(_note_of(lock), {"pid": os.getpid(), "host": socket.gethostname(), "since": now()})
        yield True
    finally:
        _note_of(lock).unlink(missing_ok=True)
        holding.release()


def holder(lock: Path) -> str:
    """Who holds a lock and since when, and what to do where it does not go on by itself."""
    known = read_json(_note_of(lock))
    if known is None or not {"pid", "host", "since"} <= known.keys():
        return f"another process holds {lock}, and has not said which"
    pid, text = known["pid"], f"held by process {known['pid']} on {known['host']} since {known['since']}"
    if known["host"] != socket.gethostname():
        return f"{text}; if that machine is lost, end the process there or delete {lock}"
    state = state_of(pid)
    if state in ("T", "t"):
        return f"{text}, which is stopped: `kill -CONT {pid}` lets it go on, `kill -KILL {pid}` sets the cell free"
    return text if state else f"{text}, which this machine's /proc does not show"


def state_of(pid: int) -> str:
    """The letter of a process's state (proc(5)): R runs, S sleeps, T is stopped; empty without such a process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return ""


def _note_of(lock: Path) -> Path:
    return lock.with_name(f"{lock.name}.holder")
