"""No tracker: records hold everything."""

from typing import Any, ClassVar

from lorabench.trackers.base import TrackedCell, Tracker


class Nothing(Tracker):
    """Tracks nothing."""

    idle: ClassVar[bool] = True

    def start(self, cell: TrackedCell) -> None:
        """Nothing."""

    def step(self, step: int, metrics: dict[str, float]) -> None:
        """Nothing."""

    def finish(self, record: dict[str, Any] | None) -> None:
        """Nothing."""
