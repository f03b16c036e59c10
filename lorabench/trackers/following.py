"""A tracker beside a cell, on a thread of its own: it can neither fail nor hold up nor change the cell."""

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from queue import SimpleQueue
from typing import Any

from lorabench.contributed import reason
from lorabench.terminal.bars import note
from lorabench.trackers.base import TrackedCell, Tracker
from lorabench.training.loop import OnStep, Training

GRACE = 5.0  # seconds beyond its timeout for a tracker that keeps to it by itself


class Following:
    """One cell and its tracker, whose calls wait in a queue.

    A call that raises ends the tracking with one line; so does a tracker that is not done in time.
    """

    def __init__(self, tracker: Tracker, cell: TrackedCell):
        self._cell, self._tracker = cell, tracker
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._passed = 0  # steps
        self._finished = self._tracker.idle
        self._gave_up = False
        # A daemon: one that hangs must not keep the process from ending.
        self._thread = threading.Thread(target=self._work, name=f"tracker-{cell.id}", daemon=True)
        if not self._tracker.idle:
            self._calls.put(partial(self._tracker.start, cell))
            self._thread.start()

    def on_step(self, before: OnStep) -> OnStep:
        """A callback of ``train`` that calls ``before`` and passes on the steps that are new."""
        if self._tracker.idle:
            return before

        def both(training: Training, total: int) -> None:
            before(training, total)
            names = [group["name"] for group in training.groups]
            self._pass(training.loss, training.grad_norm, training.lr, names, total)

        return both

    def finish(self, record: dict[str, Any] | None) -> None:
        """Wait until the tracker is done, as long as its timeout says; what comes after the first call does nothing."""
        if self._finished:
            return
        self._finished = True
        training = (record or {}).get("training")
        if training:  # a cell that went on after its training has passed no step
            losses, norms, rates = ([value for _, value in training[key]] for key in ("loss", "grad_norm", "lr"))
            self._pass(losses, norms, rates, [group["name"] for group in training["groups"]], training["steps"])
        self._calls.put(partial(self._tracker.finish, record))
        self._calls.put(None)
        self._thread.join(self._tracker.timeout + GRACE)
        if self._thread.is_alive():
            self._note(f"not done after {self._tracker.timeout:g} s")

    def _pass(
        self,
        losses: Sequence[float],
        norms: Sequence[float],
        rates: Sequence[Sequence[float]],
        names: Sequence[str],
        total: int,
    ) -> None:
        for step in range(self._passed + 1, len(losses) + 1):
            if step % self._tracker.every == 0 or step == total:
                metrics = {"loss": losses[step - 1], "grad_norm": norms[step - 1]} | _name_rates(rates[step - 1], names)
                self._calls.put(partial(self._tracker.step, step, metrics))
        self._passed = len(losses)

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            try:
                call()
            except Exception as error:
                self._note(reason(error))
                return

    def _note(self, reason: str) -> None:
        if not self._gave_up:
            note(f"tracker={self._tracker.name}: {reason}; {self._cell.label} goes on without it")
        self._gave_up = True


def _name_rates(rates: Sequence[float], names: Sequence[str]) -> dict[str, float]:
    """``lr`` of the one group, or ``lr/NAME`` of each of several; a group that came during the run goes by its number."""
    if len(rates) == 1:
        return {"lr": rates[0]}
    return {f"lr/{names[i] if i < len(names) else i}": rate for i, rate in enumerate(rates)}


@contextlib.contextmanager
def following(tracker: Tracker, cell: TrackedCell) -> Iterator[Following]:
    """Follow a cell; one that ends without a record was interrupted."""
    follower = Following(tracker, cell)
    try:
        yield follower
    finally:
        follower.finish(None)
