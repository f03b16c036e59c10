"""The interval of one mean score: of a variant at one learning rate, for new seeds and new problems."""

import math
from collections.abc import Sequence
from statistics import stdev
from typing import Any, NamedTuple

from analysis.read.completions import verified_scores
from analysis.stats import student
from analysis.stats.paired import difference


class Interval(NamedTuple):
    """Ends of the interval at `LEVEL`, fractions; NaN where nothing tells them.

    `how`: "problems and seeds", "problems" (one seed: what another seed would do is not in it), "seeds" or "".
    """

    low: float
    high: float
    how: str


NONE = Interval(math.nan, math.nan, "")


def interval(cells: Sequence[dict[str, Any]], mean: float) -> Interval:
    """The interval of the mean score of cells that differ in their seeds alone.

    With completions on disk seeds and problems are both random (`stats.paired`); else seeds alone, by Student's t, if there
    are several. That the learning rate was chosen by these scores is not in it.

    Args:
        cells: rows of `read.load.load_records`, none of them failed.
        mean: their mean test score.
    """
    if math.isnan(mean) or not cells:
        return NONE
    if all(cell["status"] == "complete" and cell["n"] == 1 for cell in cells):
        scores = verified_scores([cells])
        if scores:
            mean_score = difference(scores[0][0], resampled=False, labels=scores[1])
            low, high = mean_score.interval()
            return Interval(max(low, 0.0), high, "problems and seeds" if mean_score.seeds > 1 else "problems")
    return _of_seeds(cells, mean)


def _of_seeds(cells: Sequence[dict[str, Any]], mean: float) -> Interval:
    published = len(cells) == 1 and cells[0]["n"] > 1  # a row that is a mean already
    n = int(cells[0]["n"]) if published else len(cells)
    if n < 2:
        return NONE
    std = float(cells[0]["test_std"]) if published else stdev(cell["test"] for cell in cells)
    if math.isnan(std):
        return NONE
    low, high = student.interval(mean, std / math.sqrt(n), n - 1)
    return Interval(max(low, 0.0), min(high, 1.0), "seeds")
