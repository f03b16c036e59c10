"""No tracker: records hold everything."""

from typing import TYPE_CHECKING, Any, ClassVar

from lorabench.trackers.base import Tracker

if TYPE_CHECKING:
    from lorabench.cell import Cell


class Nothing(Tracker):
    """Tracks nothing."""

    idle: ClassVar[bool] = True

    def start(self, cell: "Cell") -> None:
        """Nothing."""

    def step(self, step: int, metrics: dict[str, float]) -> None:
        """Nothing."""

    def finish(self, record: dict[str, Any] | None) -> None:
        """Nothing."""
