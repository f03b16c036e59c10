"""What a tracker is: a place that follows cells while they train."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from lorabench.errors import UserError


@dataclass(frozen=True)
class TrackedCell:
    """What a tracker gets to know of the cell that it follows.

    Attributes:
        id: the cell's.
        label: the cell in a few words, such as ``tiny arithmetic lora lr=2e-3 batch_size=8 rank=8 seed=0``.
        config: as in the cell's record.
        folder: where the cell lives, ``OUTPUT_DIR/<id>``.
        output_dir: where all cells live.
    """

    id: str
    label: str
    config: dict[str, Any]
    folder: Path
    output_dir: Path


@dataclass
class Tracker(ABC):
    """One cell's tracker; ``lorabench.trackers.following`` calls it, on a thread of its own and in this order.

    A method may raise what it likes: the cell goes on, with one line that says why it is no longer tracked.

    Attributes:
        name: as on the command line.
        every: steps between two whose metrics are passed on; those of the last step always are.
        timeout: seconds that the end of a cell waits for what is still to be done.
        idle: there is nothing to call.
        memory: what trackers of this kind keep from cell to cell of a process.
    """

    idle: ClassVar[bool] = False
    name: str
    every: int = 1
    timeout: float = 30.0
    memory: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for key in ("every", "timeout"):
            if not getattr(self, key) > 0:
                raise UserError(f"tracker.{key}={getattr(self, key)} must be greater than 0")

    def prepare(self) -> None:
        """Find out whether it can work, before anything is trained; UserError where the user can mend it."""
        return

    @abstractmethod
    def start(self, cell: TrackedCell) -> None:
        """A cell begins, or goes on after an interruption."""

    @abstractmethod
    def step(self, step: int, metrics: dict[str, float]) -> None:
        """An optimizer step, counted from 1, with its ``loss``, ``grad_norm`` and the ``lr`` that the optimizer used.

        Of an optimizer with several parameter groups each has its own, as ``lr/NAME``.

        A cell that goes on passes its steps from the first, so that what is tracked has no gap.
        """

    @abstractmethod
    def finish(self, record: dict[str, Any] | None) -> None:
        """The cell has its record, complete, diverged or failed; None: it was interrupted and may go on later."""
