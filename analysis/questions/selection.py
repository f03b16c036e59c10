"""What a best cell is worth when it was chosen by the score that is then reported."""

import zlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from analysis.read.completions import verified_scores
from analysis.read.options import SETTING
from analysis.stats.curves import group_rows
from analysis.stats.paired import difference

FOLDS = 10


class Honest(NamedTuple):
    """The score of choosing a best cell.

    Attributes:
        peak: the best cell's mean score, chosen by it: too high.
        value: the same choice made on other seeds and other problems than it is scored on.
        sets: the scores behind `value`, of each test set [seeds, problems].
        chosen: how often each cell was chosen, shares.
        labels: of each set's problems.
    """

    peak: float
    value: float
    sets: list[np.ndarray]
    chosen: list[float]
    labels: Sequence[Sequence[str]]

    @property
    def optimism(self) -> float:
        """By how much the peak flatters."""
        return self.peak - self.value


def cross_fit(cells: Sequence[Sequence[np.ndarray]], labels: Sequence[Sequence[str]]) -> Honest:
    """Choose and score on different data, in turn (cross-validation over problems and, where there are several, over seeds).

    For each seed s and each of `FOLDS` folds f of the problems, the cell of the highest mean over the other seeds and the
    other folds is scored on (s, f). With one seed only the problems are left out, and chance of training stays in. The
    choice is made with a little less data than the peak's, so the result is, if anything, too low.

    Args:
        cells: for each cell and test set, scores [seeds, problems]; seeds and problems are the same for all cells.
        labels: of each set's problems; a problem's fold is decided by its label, the same whatever else is compared.
    """
    sets, seeds = range(len(labels)), len(cells[0][0])
    folds = [np.array([zlib.crc32(problem.encode()) % FOLDS for problem in of_set]) for of_set in labels]
    means = np.array([[of_set.mean(1) for of_set in cell] for cell in cells]).mean(1)  # [cells, seeds]
    peak = float(means.mean(1).max())
    scores, chosen = [np.zeros_like(of_set) for of_set in cells[0]], np.zeros(len(cells))
    for s in range(seeds):
        other_seeds = [seed for seed in range(seeds) if seed != s] or [0]
        for f in range(FOLDS):
            means_elsewhere = [np.mean([_mean(cell[k][other_seeds][:, folds[k] != f]) for k in sets]) for cell in cells]
            best = int(np.argmax(means_elsewhere))
            for k in sets:
                scores[k][s, folds[k] == f] = cells[best][k][s, folds[k] == f]
                chosen[best] += (folds[k] == f).mean() / (seeds * len(labels))
    return Honest(peak, float(np.mean([of_set.mean() for of_set in scores])), scores, chosen.tolist(), labels)


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else 0.0


def honest_peaks(frame: pd.DataFrame) -> pd.DataFrame:
    """What each variant's choice of the best learning rate by test scores is worth on other seeds and problems.

    Returns:
        One row a setting and variant that has several learning rates, and of every one and seed completions that reproduce
        the score, or a run that diverged: `SETTING`, `variant`, `peak_mean`, `honest` (`cross_fit`),
        `low` and `high` (95 %, as if each part of the problems had a choice of its own), and `optimism`, the difference.
    """
    rows = []
    for curve in group_rows(frame[frame["status"] != "failed"], [*SETTING, "variant"]):
        honest = _honest(curve)
        if honest is not None:
            low, high = difference(honest.sets, resampled=False, labels=honest.labels).interval()
            columns = {"peak_mean": honest.peak, "honest": honest.value, "low": low, "high": high, "optimism": honest.optimism}
            rows.append({key: curve[0][key] for key in [*SETTING, "variant"]} | columns)
    return pd.DataFrame(rows, columns=[*SETTING, "variant", "peak_mean", "honest", "low", "high", "optimism"])


def _honest(curve: Sequence[dict[str, Any]]) -> Honest | None:
    lrs, seeds = (sorted({cell[key] for cell in curve}) for key in ("lr", "seed"))
    complete = [cell for cell in curve if cell["status"] == "complete"]
    if len(lrs) < 2 or len({(cell["lr"], cell["seed"]) for cell in curve}) < len(lrs) * len(seeds) or not complete:
        return None
    verified = verified_scores([[cell] for cell in complete])
    if verified is None:
        return None
    arrays, labels = verified
    scores = {(cell["lr"], cell["seed"]): of_sets for cell, of_sets in zip(complete, arrays, strict=True)}
    nothing = [np.zeros_like(of_set) for of_set in arrays[0]]  # what diverged solves no problem
    table = [
        [np.concatenate(of_seeds) for of_seeds in zip(*(scores.get((lr, s), nothing) for s in seeds), strict=True)]
        for lr in lrs
    ]
    return cross_fit(table, labels)
