"""One cell in two sets of results: is the difference of its test scores beyond noise?"""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, variance
from typing import Any

import numpy as np
from scipy.stats import binomtest, t

from analysis.read.completions import SAME, scores, verified_scores
from analysis.read.metrics import independent_rows
from analysis.stats import ZERO
from analysis.stats.paired import difference
from analysis.stats.welch import Side, welch

UNKNOWN = {"how": "", "p": math.nan}
Row = dict[str, Any]


def by_problems(of_a: Sequence[Row], of_b: Sequence[Row]) -> Row:
    """Own cells that differ in their seeds alone, the same seeds of both, in the same order.

    Where every completion is there and reproduces its record's score, on the same problems of a task with the same
    fingerprint, the scores are paired problem by problem: McNemar's exact test for one seed with scores right or wrong, else
    `stats.paired.difference`. Without, and where a seed diverged (score 0), the problems of both count as other ones: a test
    of proportions, `_proportions`.

    Returns:
        `a`, `b`, `difference` (b − a), `seeds`, `how` ("mcnemar", "paired", "proportions", "diverged" where all did in both, ""
        where nothing tells the noise), `p`, and `same`: every problem of every seed has the same score in both.
    """
    a, b = (mean(row["test"] for row in rows) for rows in (of_a, of_b))
    row = {"a": a, "b": b, "difference": b - a, "seeds": len(of_a), "same": False}
    if all(cell["status"] == "diverged" for cell in (*of_a, *of_b)):
        return row | {"how": "diverged", "p": 1.0}
    return row | (_test_paired(of_a, of_b) or _proportions(of_a, of_b))


def by_means(of_a: Row, of_b: Row) -> Row:
    """Means over seeds: Welch's test, in which a side of one seed borrows the other's deviation; `how` is "seeds" or ""."""
    a, b = (Side(row["test_mean"], row["test_std"], row["n"]) for row in (of_a, of_b))
    welch_test = welch(b, a, shared=True)
    tested = {"how": "seeds", "p": welch_test.p} if welch_test else UNKNOWN
    return {"a": a.mean, "b": b.mean, "difference": b.mean - a.mean, "seeds": min(a.n, b.n), "same": False} | tested


def _test_paired(of_a: Sequence[Row], of_b: Sequence[Row]) -> Row | None:
    cells = [*of_a, *of_b]
    fingerprints = {row.get("task.fingerprint") for row in cells}
    if len(fingerprints) > 1 or not isinstance(fingerprints.pop(), str):
        return None
    scored = [scores(str(row["path"])) for row in cells]
    problems = [{name: of_set.keys() for name, of_set in by_set.items()} for by_set in scored]
    verified = verified_scores([[row] for row in cells]) if all(of_cell == problems[0] for of_cell in problems) else None
    if verified is None:
        return None
    of_cells, labels = verified
    sets_a, sets_b = (
        [np.concatenate(of_set) for of_set in zip(*of_side, strict=True)]
        for of_side in (of_cells[: len(of_a)], of_cells[len(of_a) :])
    )
    sets = [np.subtract(b, a) for a, b in zip(sets_a, sets_b, strict=True)]
    up, down = (sum(int((sign * d > 0).sum()) for d in sets) for sign in (1, -1))
    same = up + down == 0
    binary = all(np.isin(of_set, (0, 1)).all() for of_set in (*sets_a, *sets_b))
    # In McNemar's test every problem counts alike, and is independent; in the score only if the sets are equally large.
    independent = all(len(set(of_set)) == len(of_set) for of_set in labels)
    if len(of_a) == 1 and binary and independent and len({d.shape[1] for d in sets}) == 1:
        return {"how": "mcnemar", "p": 1.0 if same else float(binomtest(up, up + down).pvalue), "same": same}
    paired = difference(sets, resampled=False, labels=labels)
    if paired.stderr < ZERO and not same:
        return None  # every problem changed by as much: no spread to test with
    return {"how": "paired", "p": 1.0 if same else paired.p(), "same": same}


def _proportions(of_a: Sequence[Row], of_b: Sequence[Row]) -> Row:
    """The mean over K test sets has the variance Σ_k p_k·(1 − p_k)·(1/n_k + 1/m_k)/K², where p_k is that of both together.

    n_k and m_k count rows of one problem as what they tell (`read.metrics.independent_rows`).

    Of S > 1 seeds the variance of their differences over S is added, so that the noise of either is covered; the degrees of
    freedom are Satterthwaite's, of which those of the proportions are infinite.
    """
    a, b = _of_sets(of_a), _of_sets(of_b)
    if a is None or b is None:
        return UNKNOWN
    a, b = a or _zeros(b), b or _zeros(a)
    if a.keys() != b.keys():
        return UNKNOWN  # the mean of other sets differs for that alone
    of_problems, seeds = 0.0, len(of_a)
    for name, (p, n) in a.items():
        q, m = b[name]
        pooled = (p * n + q * m) / (n + m)
        of_problems += pooled * (1 - pooled) * (1 / n + 1 / m) / len(a) ** 2
    differences = [cell_b["test"] - cell_a["test"] for cell_a, cell_b in zip(of_a, of_b, strict=True)]
    of_seeds = variance(differences) / seeds if seeds > 1 else 0.0
    stderr = math.sqrt(of_problems + of_seeds)
    if stderr < ZERO:
        return {"how": "proportions", "p": 1.0}  # nothing or everything is right in both
    df = (seeds - 1) * (stderr**2 / of_seeds) ** 2 if of_seeds else math.inf
    return {"how": "proportions", "p": 2 * float(t.sf(abs(mean(differences)) / stderr, df))}


def _of_sets(rows: Sequence[Row]) -> dict[str, tuple[float, float]] | None:
    """Mean score over seeds and problems of each test set, and its independent rows.

    Empty if all seeds diverged, None where a record does not tell.
    """
    of_seeds = [_sets(row) for row in rows if row["status"] == "complete"]
    if any(not sets or sets.keys() != of_seeds[0].keys() for sets in of_seeds):
        return None
    names = of_seeds[0] if of_seeds else {}
    return {
        name: (sum(sets[name][0] for sets in of_seeds) / len(rows), min(sets[name][1] for sets in of_seeds)) for name in names
    }


def _sets(row: Row) -> dict[str, tuple[float, float]]:
    """Score and independent rows of each test set of a record; empty where they do not make its score.

    Of another metric (`read.metrics`) itself, where it is a proportion of problems.
    """
    if "metric" in row:
        problems = row["problems"]
        return {} if math.isnan(problems) else {str(row["metric"]): (float(row["test"]), float(problems))}
    metrics = json.loads(Path(row["path"]).read_text(encoding="utf-8"))["metrics"]
    try:
        sets = {name: (float(of_set["score"]), independent_rows(of_set)) for name, of_set in metrics["test"]["sets"].items()}
    except (AttributeError, KeyError, TypeError, ValueError):
        return {}
    valid = sets and all(0 <= score <= 1 and n > 0 for score, n in sets.values())
    return sets if valid and abs(mean(score for score, _ in sets.values()) - row["test"]) <= SAME else {}


def _zeros(sets: dict[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
    return {name: (0.0, n) for name, (_, n) in sets.items()}
