"""Many processes on one folder, some of which are killed, beside one that nobody disturbs."""

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.killing import Shared, Tally, start, undisturbed, warm
from benchmarks.leavings import content, differences

PAUSE = (0.5, 3.0)
"""Seconds from one kill to the next, at least and at most."""


def crowded(words: list[str], folder: Path, workers: int, kills: int, seed: int) -> Tally:
    """Run one command in several processes, kill some of them by SIGKILL and start others in their places.

    Args:
        words: of the command line, without ``output_dir`` and ``-m``.
        folder: an empty one.
        workers: processes at a time.
        kills: how many, as long as there is work.
        seed: of who is killed and when.
    """
    from lorabench.cells.run import Finish

    draws, shared, tally = random.Random(seed), Shared(), Tally()
    warm()
    undisturbed(words, folder, shared)
    log = os.open(folder / "trained", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    Finish.record = _told(Finish.record, log)  # type: ignore[method-assign]
    words = [*words, "when_busy=defer"]
    started, running = 0, set()
    due = time.monotonic() + 3 * PAUSE[1]
    while True:
        while len(running) < workers and not (started >= workers and _done(folder)):
            running.add(start(words, folder / "shared", shared, folder / f"log-{started}"))
            started += 1
        if not running:
            break
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid:
            running.remove(pid)
            code = os.waitstatus_to_exitcode(status)
            if code not in (0, -signal.SIGKILL):
                tally.faults.append(f"exit code {code}: {[log.read_text()[-300:] for log in folder.glob('log-*')]}")
                break
        elif time.monotonic() > due and tally.kills.total() < kills and len(running) == workers:
            os.kill(draws.choice(sorted(running)), signal.SIGKILL)
            tally.kills["one of several processes"] += 1
            due = time.monotonic() + draws.uniform(*PAUSE)
        time.sleep(0.01)
    for pid in running:
        os.kill(pid, signal.SIGKILL)
    trained = Counter((folder / "trained").read_text().split())
    tally.rounds = len(trained)
    tally.faults += [f"cell {cell} was trained {count} times" for cell, count in trained.items() if count > 1]
    tally.faults += differences(content(folder / "undisturbed"), content(folder / "shared"))
    return tally


def _told(record: Callable[..., Any], log: int) -> Callable[..., Any]:
    """``Finish.record``, which tells the id of each cell whose record it has written."""

    def told(self: Any) -> Any:
        written = record(self)
        os.write(log, f"{self.cell.id}\n".encode())
        return written

    return told


def _done(folder: Path) -> bool:
    names = [file.relative_to(folder / "undisturbed") for file in (folder / "undisturbed").glob("*/record.json")]
    return all((folder / "shared" / name).exists() for name in names)
