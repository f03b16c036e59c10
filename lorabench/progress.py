"""Progress of the cell and of the sweep: bars on a terminal, plain lines elsewhere."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

if TYPE_CHECKING:
    from lorabench.cell import Cell
    from lorabench.train import Training

LINE_EVERY = 60.0  # seconds between plain lines of one cell


def duration(seconds: float) -> str:
    """``42s``, ``3m10s`` or ``5h02m``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"


def number(value: float) -> str:
    """A learning rate as one would type it: ``6.3246e-4``, ``2e-3``."""
    mantissa, exponent = f"{value:.6e}".split("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"


class Progress:
    """What this process tells its user; all of it goes to standard error."""

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
        if sys.stderr.isatty():
            self._bar = tqdm(total=total, unit="cell", desc="sweep", position=0)

    def note(self, text: str) -> None:
        """Print a line."""
        tqdm.write(text, file=sys.stderr)

    @contextlib.contextmanager
    def cell(self, cell: "Cell", steps: int) -> "Iterator[Callable[[Training, int], None]]":
        """Follow the training of one cell; yields the callback for ``train``."""
        if sys.stderr.isatty():
            with tqdm(total=steps, unit="step", desc=str(cell), position=int(self._bar is not None), leave=False) as bar:

                def draw(done: "Training", total: int) -> None:
                    bar.update(done.steps - bar.n)
                    bar.set_postfix(loss=f"{done.loss[-1]:.4f}" if done.loss else "-", refresh=False)

                yield draw
            return
        last = time.monotonic()

        def line(done: "Training", total: int) -> None:
            nonlocal last
            if time.monotonic() - last >= LINE_EVERY and done.loss:
                last = time.monotonic()
                left = done.seconds / done.steps * (total - done.steps)
                self.note(f"  {cell}: step {done.steps}/{total} loss {done.loss[-1]:.4f}, {duration(left)} left")

        yield line

    @contextlib.contextmanager
    def generation(self, prompts: int) -> "Iterator[Callable[[int], None]]":
        """Follow the generation of so many answers; yields a callback for the number of those just finished."""
        if sys.stderr.isatty():
            with tqdm(total=prompts, unit="answer", desc="evaluating", position=int(self._bar is not None), leave=False) as bar:
                yield lambda count: bar.update(count) and None
            return
        last, finished = time.monotonic(), 0

        def line(count: int) -> None:
            nonlocal last, finished
            finished += count
            if time.monotonic() - last >= LINE_EVERY and finished < prompts:
                last = time.monotonic()
                self.note(f"  evaluating: {finished}/{prompts} answers")

        yield line

    def cell_done(self, cell: "Cell", record: dict[str, Any], fresh: bool) -> None:
        """Report a finished cell, trained now or before (``fresh`` false)."""
        self.done += 1
        # More than the grid has cells, where the best of it are then run in full.
        place = f"[{self.done}/{max(self.done, self.total)}] " if self.total else ""
        if record["metrics"]:
            scores = " ".join(f"{split} {100 * found['mean']:.1f}" for split, found in record["metrics"].items())
        else:
            scores = record["error"]
        how = duration(record["training"]["seconds"] + record["evaluation"]["seconds"]) if fresh else "done before"
        left = ""
        if fresh and self.total and self.done < self.total and (new := (finished := self.finished()) - self.before) > 0:
            left = f", {duration((time.monotonic() - self.started) / new * (self.total - finished))} left"
        self.note(f"{place}{cell}: {record['status']}, {scores} ({how}{left})")
        if self._bar is not None:
            self._bar.update()
            if self.done == self.total:
                self._bar.close()
                self._bar = None


PROGRESS = Progress()
