"""What a running search shows of itself: a table with a row after every evaluation."""

import sys

from sweeps.numbers import SCORE
from sweeps.space import Space
from sweeps.sweepers.journal import Trial

WIDTH = 10


class Table:
    """Prints evaluations as they are answered: number, values, score, best so far.

    Args:
        space: of the candidates.
        budget: evaluations that there will be.
    """

    def __init__(self, space: Space, budget: int) -> None:
        self._space, self._budget = space, budget
        self._count = 0
        self._best: float | None = None
        names = [*(key.removeprefix("variant.") for key in space.keys), "score", "best"]
        self._widths = [max(len(name), WIDTH) for name in names]
        self._print("", names)

    def row(self, trial: Trial) -> None:
        """Print an answered trial."""
        if trial.status == "asked":
            return
        self._count += 1
        new = trial.score is not None and (self._best is None or trial.score > self._best)
        self._best = trial.score if new else self._best
        score = "failed" if trial.score is None else f"{trial.score:{SCORE}}"
        best = "-" if self._best is None else f"{self._best:{SCORE}}{'*' if new else ' '}"
        self._print(f"[{self._count}/{self._budget}]", [*self._space.texts(trial.candidate).values(), score, best])

    def _print(self, place: str, cells: list[str]) -> None:
        print(
            f"{place:<9}" + " ".join(f"{cell:>{width}}" for cell, width in zip(cells, self._widths, strict=True)),
            file=sys.stderr,
        )
