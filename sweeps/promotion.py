"""The best cells of a cheap sweep, run again in full."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig

from sweeps.space import SpaceError


@dataclass(frozen=True)
class Promotion:
    """What happens after a sweep of proxies.

    Attributes:
        count: cells to promote; 0: none.
        full: overrides that make a proxy a full cell.
        report: gets the full cells' configs and the proxies' scores, best proxy first, and tells the results.
    """

    count: int = 0
    full: Sequence[str] = ()
    report: Callable[[Sequence[DictConfig], Sequence[float]], None] | None = None

    def __post_init__(self) -> None:
        if self.count < 0:
            raise SpaceError(f"hydra.sweeper.promote={self.count} must not be negative")

    def choose(self, cells: Sequence[Sequence[str]], scores: Sequence[Any]) -> tuple[list[list[str]], list[float]]:
        """The best cells as full ones, and their proxies' scores; of equal scores the earlier cell's comes first."""
        measured = [i for i, score in enumerate(scores) if isinstance(score, int | float) and score == score]
        best = sorted(measured, key=lambda i: -scores[i])[: self.count]
        return [[*cells[i], *self.full] for i in best], [float(scores[i]) for i in best]
