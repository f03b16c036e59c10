"""The difference of two models on the same test problems, with intervals that know of seeds and of problems."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import brentq

from analysis.stats import LEVEL, ZERO
from analysis.stats.binary import Binary
from analysis.stats.student import critical, tail

RESAMPLES = 10_000
SEED = 0
"""Of the bootstrap: the same records give the same interval."""

GRID = 1001
"""Differences among which the end of an interval is looked for, before it is refined."""


class Components(NamedTuple):
    """Variances of d[s, i] = μ + seed_s + problem_i + rest_si, the two-way layout without replication; at least 0."""

    seed: float
    problem: float
    rest: float


class Difference(NamedTuple):
    """Mean difference of two models, a fraction.

    Attributes:
        value: the mean over test sets of the mean over their problems and over seeds.
        v_seeds: the part of its variance that more seeds would lower; 0 where there is one seed.
        v_problems: the rest.
        df: degrees of freedom of `v_problems`; those of `v_seeds` are the seeds less one.
        runs_low: lower end of the bootstrap's interval for these trained models: problems are drawn, seeds are not.
        runs_high: its upper end.
        seeds: how many.
        problems: how many.
        changed: of them, those whose mean over seeds is not 0.
        binary: what is known of the variance from scores being 0 or 1; None where they are not.
        components: of the variance, over all problems; NaN for seeds and rest where there is one seed.
    """

    value: float
    v_seeds: float
    v_problems: float
    df: float
    runs_low: float
    runs_high: float
    seeds: int
    problems: int
    changed: int
    binary: Binary | None
    components: Components

    @property
    def stderr(self) -> float:
        """For new seeds and new problems; for new problems alone where there is one seed."""
        return math.sqrt(self.v_seeds + self.v_problems)

    def interval(self, level: float = LEVEL) -> tuple[float, float]:
        """The differences m, −1 to 1, for new seeds and new problems, with |value − m| ≤ t · √variance.

        The variance is not taken to be smaller than `binary` says of a true difference m: for one model's scores on one set
        that is Wilson's interval wherever it reaches further than Student's.
        """
        return -self._upper(-self.value, level), self._upper(self.value, level)

    def p(self) -> float:
        """Two-sided p-value of no difference; McNemar's exact one where all problems of a set changed alike: nothing varies."""
        if self.stderr < ZERO:
            return 1.0 if abs(self.value) < ZERO else 2.0 ** (1 - self.changed)
        return 2 * self._tail(abs(self.value) / self.stderr, self.v_seeds / self.stderr**2)

    def p_equivalent(self, margin: float) -> float:
        """p-value of |difference| < margin: two one-sided tests as `stats.equivalence.tost`.

        The variance is not taken to be smaller than `binary` says of a true difference as large as the margin: where few
        problems differ, the t-test would claim what it has not seen (size at 164 problems 19 % without this, and 0 with it;
        `tests/analysis/stats/test_equivalence.py`).
        """
        variance = float(self._variance(margin))
        if math.sqrt(variance) < ZERO:
            return math.nan
        share, stderr = self.v_seeds / variance, math.sqrt(variance)
        return max(self._tail((self.value + margin) / stderr, share), self._tail((margin - self.value) / stderr, share))

    def _variance(self, true: Any) -> Any:
        """If the true difference is that; a number or an array."""
        return self.v_seeds + (np.maximum(self.v_problems, self.binary.variance(true)) if self.binary else self.v_problems)

    def _tail(self, point: float, share: float) -> float:
        return tail(point, share, max(self.seeds - 1, 1), self.df)

    def _upper(self, value: float, level: float) -> float:
        def short(m: Any) -> Any:
            """By how much the reach of the interval is more than m − value."""
            variance = np.maximum(self._variance(m), ZERO**2)
            limit = critical((1 - level) / 2, self.v_seeds / variance, max(self.seeds - 1, 1), self.df)
            return limit * np.sqrt(variance) - (m - value)

        grid = np.linspace(value, 1, GRID)
        last = int(np.flatnonzero(short(grid) >= 0)[-1])  # what lies between belongs to the interval, too
        return 1.0 if last == GRID - 1 else float(brentq(short, grid[last], grid[last + 1]))


def difference(sets: Sequence[np.ndarray], resampled: bool = True, labels: Sequence[Sequence[str]] | None = None) -> Difference:
    """The mean of d over test sets, with its uncertainty.

    Seeds and problems are both random and crossed: every seed sees all problems. With V_s the variance of the seeds' means
    over S, V_i that of the problems' means (in each set over its N, then over the square of the number of sets) and V_si that
    of the rest, the variance of the mean is V_s + V_i − V_si, since both hold the rest (Brennan 2001, *Generalizability
    Theory*, chapter 3; of paired differences of language models' scores, Miller 2024, arXiv 2411.00640). V_s has S − 1 degrees
    of freedom, V_i Satterthwaite's over the sets (`stats.student`). A bootstrap over three seeds would be too narrow: it
    draws from three values what varies, and knows nothing of t (`tests/analysis/stats/test_paired.py` measures both).

    Args:
        sets: for each test set, score of one model minus that of the other [seeds, problems].
        labels: for each set, of each problem; those of one label (two turns of a conversation) are not independent, and count
            as one problem. Without, each is one.
        resampled: False leaves `runs_low` and `runs_high` NaN, and takes a tenth of the time.

    Raises:
        ValueError: no problems, or sets of different numbers of seeds.

    One seed, 200 problems, of which the first model solves 120, and the second 112 of the same:

    >>> scores = np.zeros((1, 200))
    >>> scores[0, 112:120] = 1
    >>> d = difference([scores])
    >>> low, high = d.interval()
    >>> f"{d.value:.3f} [{low:.3f}, {high:.3f}], p = {d.p():.4f}"
    '0.040 [0.013, 0.077], p = 0.0044'
    """
    seeds = {len(d) for d in sets}
    if len(seeds) != 1 or 0 in seeds or min(d.shape[1] for d in sets) == 0:
        raise ValueError("a difference needs test sets with problems, all with the same seeds")
    names = [list(map(str, range(d.shape[1]))) for d in sets] if labels is None else labels
    changed = sum(_changed(d, of_set) for d, of_set in zip(sets, names, strict=True))
    right_or_wrong = all(bool(np.isin(d, (-1, 0, 1)).all()) for d in sets)
    sets = [_by_label(d, of_set) for d, of_set in zip(sets, names, strict=True)]
    (s,), k, n = seeds, len(sets), sum(d.shape[1] for d in sets)
    by_seed = np.mean([d.mean(1) for d in sets], axis=0)
    of_problems = [d.mean(0) for d in sets]
    parts = [_variance(m) / len(m) / k**2 for m in of_problems]
    squares = sum(part**2 / max(len(m) - 1, 1) for part, m in zip(parts, of_problems, strict=True))
    v_problem, df = sum(parts), sum(parts) ** 2 / squares if squares else float(max(n - k, 1))
    v_seed, components, alike = 0.0, Components(math.nan, n * v_problem, math.nan), 1.0
    if s > 1:
        rest = [d - d.mean(1, keepdims=True) - d.mean(0) + d.mean() for d in sets]
        of_rest = [float(np.square(r).sum()) / max((s - 1) * (r.shape[1] - 1), 1) for r in rest]
        v_seed = _variance(by_seed) / s
        v_rest = sum(variance / (s * d.shape[1]) for variance, d in zip(of_rest, sets, strict=True)) / k**2
        components = Components(max(s * (v_seed - v_rest), 0.0), max(n * (v_problem - v_rest), 0.0), s * n * v_rest)
        # Each of the two holds the rest, so their sum less the rest is at least the larger one, but for chance.
        v_problem = max(v_problem - v_rest, v_problem - v_seed, 0.0)
        if total := components.problem + components.rest:
            alike = (components.problem + components.rest / s) / total
    low, high = _bootstrap(of_problems) if resampled else (math.nan, math.nan)
    binary = Binary.of([d.shape[1] for d in sets], alike) if right_or_wrong else None
    return Difference(float(by_seed.mean()), v_seed, v_problem, df, low, high, s, n, changed, binary, components)


def _by_label(d: np.ndarray, labels: Sequence[str]) -> np.ndarray:
    """Scores [seeds, labels] of scores [seeds, problems]: x̄ + G/n · Σ_{i ∈ g} (x_i − x̄) of G labels g and n problems.

    Their mean is that of the problems, and its variance the cluster-robust one (Liang and Zeger 1986, with G/(G − 1)).
    """
    numbers = {label: number for number, label in enumerate(dict.fromkeys(labels))}
    if len(numbers) == d.shape[1]:
        return d
    mean, places = d.mean(1, keepdims=True), [numbers[label] for label in labels]
    sums = np.stack([np.bincount(places, weights=row) for row in d - mean])
    return mean + sums * len(numbers) / d.shape[1]


def _changed(d: np.ndarray, labels: Sequence[str]) -> int:
    """Labels with a problem whose mean over seeds is not 0."""
    return len({labels[place] for place in np.flatnonzero(abs(d.mean(0)) > ZERO).tolist()})


def _variance(values: np.ndarray) -> float:
    return float(values.var(ddof=1)) if len(values) > 1 else 0.0


def _bootstrap(of_problems: Sequence[np.ndarray]) -> tuple[float, float]:
    """Percentiles of the mean over sets when the problems of each set are drawn anew."""
    generator = np.random.default_rng(SEED)
    total = np.zeros(RESAMPLES)
    for means in of_problems:
        values, counts = np.unique(means.round(12), return_counts=True)  # few: a multinomial draw instead of every problem
        drawn = generator.multinomial(len(means), counts / len(means), size=RESAMPLES)
        total += drawn @ values / len(means)
    low, high = np.quantile(total / len(of_problems), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
