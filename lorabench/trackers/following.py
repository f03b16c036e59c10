"""A tracker beside a cell, on a thread of its own: it can neither fail nor hold up nor change the cell."""

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from queue import SimpleQueue
from typing import Any

from lorabench.cell import Cell
from lorabench.progress import PROGRESS
from lorabench.train import Training, lr_factor

OnStep = Callable[[Training, int], None]
GRACE = 5.0  # seconds beyond its timeout for a tracker that keeps to it by itself


class Following:
    """One cell and its tracker, whose calls wait in a queue.

    A call that raises ends the tracking with one line; so does a tracker that is not done in time.
    """

    def __init__(self, cell: Cell):
        self._cell, self._tracker = cell, cell.tracker
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._passed = 0  # steps
        self._finished = self._tracker.idle
        self._told = False
        # A daemon: one that hangs must not keep the process from ending.
        self._thread = threading.Thread(target=self._work, name=f"tracker-{cell.id}", daemon=True)
        if not self._tracker.idle:
            self._calls.put(partial(self._tracker.start, cell))
            self._thread.start()

    def on_step(self, before: OnStep) -> OnStep:
        """A callback of ``train`` that calls ``before`` and passes on the steps that are new."""
        if self._tracker.idle:
            return before

        def both(done: Training, total: int) -> None:
            before(done, total)
            self._pass(done.loss, done.grad_norm, total)

        return both

    def finish(self, record: dict[str, Any] | None) -> None:
        """Wait until the tracker is done, as long as its timeout says; what comes after the first call does nothing."""
        if self._finished:
            return
        self._finished = True
        training = (record or {}).get("training")
        if training:  # a cell that went on after its training has told no step
            loss, norm = ([value for _, value in training[key]] for key in ("loss", "grad_norm"))
            self._pass(loss, norm, training["steps"])
        self._calls.put(partial(self._tracker.finish, record))
        self._calls.put(None)
        self._thread.join(self._tracker.timeout + GRACE)
        if self._thread.is_alive():
            self._note(f"not done after {self._tracker.timeout:g} s")

    def _pass(self, loss: Sequence[float], norm: Sequence[float], total: int) -> None:
        lr, warmup = self._cell.config["lr"], self._cell.trainer.warmup_ratio
        for step in range(self._passed + 1, len(loss) + 1):
            if step % self._tracker.every == 0 or step == total:
                metrics = {"loss": loss[step - 1], "grad_norm": norm[step - 1], "lr": lr * lr_factor(step - 1, total, warmup)}
                self._calls.put(partial(self._tracker.step, step, metrics))
        self._passed = len(loss)

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            try:
                call()
            except Exception as error:
                self._note(": ".join([type(error).__name__, *str(error).splitlines()[:1]]))
                return

    def _note(self, reason: str) -> None:
        if not self._told:
            PROGRESS.note(f"tracker={self._tracker.name}: {reason}; {self._cell} goes on without it")
        self._told = True


@contextlib.contextmanager
def following(cell: Cell) -> Iterator[Following]:
    """Follow a cell; one that ends without a record was interrupted."""
    found = Following(cell)
    try:
        yield found
    finally:
        found.finish(None)
