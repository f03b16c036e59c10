"""How far a sweep is: one line for each finished cell, with the time that is left."""

import os
import sys
import time
from collections.abc import Callable
from typing import Any

from tqdm import tqdm

from lorabench.terminal.bars import note
from lorabench.terminal.formats import format_duration

WORKER = "LORABENCH_WORKER"
"""Environment variable with the number of one of several processes that share a sweep and a terminal."""

SWEEP = "LORABENCH_SWEEP"
"""Environment variable with the name of the sweep in which a cell that has failed is not another worker's to try again."""


class Progress:
    """The counters of one process; the cells of a grid may be shared with other processes."""

    def __init__(self) -> None:
        self.total: int | None = None
        self.done = 0
        self.finished: Callable[[], int] = lambda: 0
        self.before = 0
        self.started = time.monotonic()
        self._bar: tqdm | None = None

    def sweep(self, total: int, finished: Callable[[], int]) -> None:
        """Begin a sweep of so many cells; ``finished`` counts those with a record, whichever process made it."""
        self.total, self.finished, self.started = total, finished, time.monotonic()
        self.done, self.before = 0, finished()
        if self.worker == "0" and self.before:
            note(f"{self.before} of {total} cells are done already")
        if sys.stderr.isatty() and self.worker is None:
            self._bar = tqdm(total=total, unit="cell", desc="sweep", position=0)

    @property
    def worker(self) -> str | None:
        """This process's number among those that share the sweep; None of one alone."""
        return os.environ.get(WORKER)

    def cell_done(self, label: str, record: dict[str, Any], fresh: bool) -> None:
        """Report a finished cell, trained now or before (``fresh`` false); of several processes, each reports its own cells."""
        self.done += 1
        if self.worker is not None and not fresh:
            return
        # More than the grid has cells, where the best of it are then run in full.
        done = self.done if self.worker is None else self.finished()
        place = f"[{done}/{max(done, self.total)}] " if self.total else ""
        if record["metrics"]:
            scores = " ".join(f"{split} {100 * metric['mean']:.1f}" for split, metric in record["metrics"].items())
        else:
            scores = record["error"]
        spent = format_duration(record["training"]["seconds"] + record["evaluation"]["seconds"]) if fresh else "done before"
        left = ""
        if fresh and self.total and self.before < (finished := self.finished()) < self.total:
            seconds = (time.monotonic() - self.started) / (finished - self.before) * (self.total - finished)
            left = f", {format_duration(seconds)} left"
        note(f"{place}{label}: {record['status']}, {scores} ({spent}{left})")
        if self._bar is not None:
            self._bar.update()
            if self.done == self.total:
                self._bar.close()
                self._bar = None
