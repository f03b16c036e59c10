"""Who holds a cell: a lock, and beside it a file that says so to those that wait."""

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from filelock import FileLock, Timeout

from lorabench.errors import UserError
from lorabench.files import read_json, write_json
from lorabench.provenance import now
from lorabench.terminal.bars import note

try:
    import fcntl
except ImportError:  # Windows, whose locks are others
    fcntl = None  # type: ignore[assignment]

PATIENCE = 60.0
"""Seconds of waiting after which a line says for whom."""

TAKEN = 42
TAKES = f"""
import fcntl, sys
with open(sys.argv[1], "rb+") as file:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        sys.exit(0)
sys.exit({TAKEN})
"""
"""A process that tries to take the lock of a file; its exit code says that it could."""


@contextlib.contextmanager
def held(lock: Path, what: str, wait: bool = True) -> Iterator[bool]:
    """Hold a lock; yield False at once when another process has it and ``wait`` is false.

    It belongs to the open file, so it ends with the process, however that ends. Who waits longer than `PATIENCE` says for whom.

    Args:
        lock: the file.
        what: it stands for, in that line.
        wait: for another process.
    """
    holding = FileLock(lock, fallback_to_soft=False)  # a soft one would outlive its process
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
        return f"{text}; if it hangs, end it there: its lock ends with it"
    state = state_of(pid)
    if state in ("T", "t"):
        return f"{text}, which is stopped: `kill -CONT {pid}` lets it go on, `kill -KILL {pid}` sets the cell free"
    return text if state else f"{text}, which this machine's /proc does not show"


@cache
def check_locks(folder: Path) -> None:
    """Check, once, that of two processes only one gets a lock in a folder, where the system can say so.

    Whether a lock holds on another machine, too, no machine can see by itself: see docs/reliability.md.

    Raises:
        UserError: the folder's file system has no locks, or none that keep anybody out.
    """
    if fcntl is None or not Path("/proc/self/fd").is_dir():
        return
    with tempfile.TemporaryFile(dir=folder) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            trial = [sys.executable, "-ISc", TAKES, f"/proc/{os.getpid()}/fd/{file.fileno()}"]
            again = subprocess.run(trial, stderr=subprocess.DEVNULL).returncode
            reason = "a second process gets the lock, too" if again == TAKEN else None
            if again not in (0, TAKEN):
                note(f"output_dir={folder}: whether its locks keep another process out could not be tried")
        except OSError as error:
            reason = str(error.strerror)
    if reason is not None:
        raise UserError(
            f"output_dir={folder}: its file system has no working locks ({reason}), by which no cell is trained twice; give a "
            "folder on another one, or mount it with locks"
        )


def state_of(pid: int) -> str:
    """The letter of a process's state (proc(5)): R runs, S sleeps, T is stopped; empty without such a process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return ""


def _note_of(lock: Path) -> Path:
    return lock.with_name(f"{lock.name}.holder")
