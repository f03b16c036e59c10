"""Lines, and bars that become lines where no terminal shows them; nothing here outlives a call."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from tqdm import tqdm

from lorabench.terminal.formats import format_duration

LINE_EVERY = 60.0  # seconds between two lines of one stretch of work


def note(text: str) -> None:
    """Print a line, above the bars where there are some."""
    tqdm.write(text, file=sys.stderr)


@contextlib.contextmanager
def training_bar(label: str, steps: int) -> Iterator[Callable[[Any, int], None]]:
    """Follow a training run of so many steps; yields a callback of ``training.loop.train``."""
    if sys.stderr.isatty():
        with tqdm(total=steps, unit="step", desc=label, leave=False) as bar:

            def draw(training: Any, total: int) -> None:
                bar.update(training.steps - bar.n)
                bar.set_postfix(loss=f"{training.loss[-1]:.4f}" if training.loss else "-", refresh=False)

            yield draw
        return
    last = time.monotonic()

    def line(training: Any, total: int) -> None:
        nonlocal last
        if time.monotonic() - last >= LINE_EVERY and training.loss:
            last = time.monotonic()
            left = format_duration(training.seconds / training.steps * (total - training.steps))
            note(f"  {label}: step {training.steps}/{total} loss {training.loss[-1]:.4f}, {left} left of this cell")

    yield line


@contextlib.contextmanager
def answers_bar(prompts: int) -> Iterator[Callable[[int], None]]:
    """Follow the generation of so many answers; yields a callback for the number of those just finished."""
    if sys.stderr.isatty():
        with tqdm(total=prompts, unit="answer", desc="evaluating", leave=False) as bar:
            yield lambda count: bar.update(count) and None
        return
    last, finished = time.monotonic(), 0

    def line(count: int) -> None:
        nonlocal last, finished
        finished += count
        if time.monotonic() - last >= LINE_EVERY and finished < prompts:
            last = time.monotonic()
            note(f"  evaluating: {finished}/{prompts} answers")

    yield line
