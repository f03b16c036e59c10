"""The full grid: every combination of the swept values, checked as a whole before the first cell runs."""

import itertools
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from hydra.core.utils import JobReturn

from sweeps.errors import SweepFailed
from sweeps.space import derive, rules
from sweeps.sweepers.base import CellSweeper
from sweeps.sweepers.jobs import raise_failures, score
from sweeps.sweepers.promotion import Promoted
from sweeps.sweepers.resolved import Config, Resolved
from sweeps.sweepers.results import results, write


class GridSweeper(CellSweeper):
    """Cartesian product of the swept values.

    Args:
        finished: gets the configs of the checked grid and gives each cell's score that is at hand, None of the cells to launch.
        cells: see ``CellSweeper``; ``preflight`` gets the configs resolved.
    """

    KIND = "a grid"

    def __init__(self, finished: Callable[[Sequence[Config]], Sequence[float | None]] | None = None, **cells: Any) -> None:
        super().__init__(**cells)
        self.finished = finished

    def sweep(self, arguments: list[str]) -> list[JobReturn] | None:
        """Check and run the grid; None when the preflight said not to run it.

        Raises:
            SweepError: a setting or an axis that cannot be.
            SweepFailed: some cells failed; the others are done.
        """
        self.check()
        cells = self.expand(arguments)
        self.check_promotion(cells, len(cells))
        configs = Resolved(self.composition, cells)
        if not self.preflight(configs, elsewhere=not self.rounds.one_by_one):
            return None
        jobs = self.rounds.run(cells, [] if self.finished is None else self.finished(configs))
        scores = [score(job)[0] for job in jobs]
        keep = partial(self._keep, cells, scores)
        keep()
        raise_failures(cells, jobs)
        if self.promotion.count and not any(value is not None for value in scores):
            raise SweepFailed(f"hydra.sweeper.promote={self.promotion.count}: no cell gave a number for a score")
        self.promote(cells, scores, keep)
        return jobs

    def expand(self, arguments: Sequence[str]) -> list[list[str]]:
        """The override strings of every cell, the last axis varying fastest."""
        axes = self.axes(arguments)
        derived, hidden = rules(self.derived, axes), self.hidden(axes)
        cells = (derive(dict(zip(axes, values, strict=True)), derived, hidden) for values in itertools.product(*axes.values()))
        # One object for all equal overrides, of which a large grid has many.
        return [[sys.intern(f"{key}={value}") for key, value in cell.items()] for cell in cells]

    def _keep(self, cells: Sequence[Sequence[str]], scores: Sequence[float | None], promoted: Sequence[Promoted] = ()) -> None:
        """Write the best cell where a search has its own; its params are what the cells have not in common."""
        shared = set(cells[0]).intersection(*cells) if len(cells) > 1 else set()
        varied = [[override for override in cell if override not in shared] for cell in cells]
        if content := results("grid", varied, scores, promoted):
            write(content, self.results_file)
