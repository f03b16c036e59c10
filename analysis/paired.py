"""The difference of two models on the same test problems, with intervals that know of seeds and of problems."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from analysis.equivalence import tost

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

LEVEL = 0.95
RESAMPLES = 10_000
SEED = 0
"""Of the bootstrap: the same records give the same interval."""


class Components(NamedTuple):
    """Variances of d[s, i] = μ + seed_s + problem_i + rest_si, the two-way layout without replication; at least 0."""

    seed: float
    problem: float
    rest: float


class Difference(NamedTuple):
    """Mean difference of two models, a fraction.

    Attributes:
        value: the mean over test sets of the mean over their problems and over seeds.
        stderr: of it, for new seeds and new problems; for new problems alone where there is one seed.
        df: degrees of freedom of `stderr`.
        runs_low: lower end of the bootstrap's interval for these trained models: problems are drawn, seeds are not.
        runs_high: its upper end.
        seeds: how many.
        problems: how many.
        thinness: what one problem's variance is divided by in the mean's: Σ_k 1/N_k over the square of the number of sets.
        components: of the variance, over all problems; NaN for seeds and rest where there is one seed.
    """

    value: float
    stderr: float
    df: float
    runs_low: float
    runs_high: float
    seeds: int
    problems: int
    thinness: float
    components: Components

    def interval(self, level: float = LEVEL) -> tuple[float, float]:
        """The differences, for new seeds and new problems, that t-tests like `p_equivalent` do not refute."""
        return -self._upper(-self.value, level), self._upper(self.value, level)

    def _upper(self, value: float, level: float) -> float:
        from scipy.special import stdtrit

        student = value + (self.stderr * float(stdtrit(self.df, (1 + level) / 2)) if self.stderr else 0.0)
        reach = float(stdtrit(max(self.df, self.problems - 1), (1 + level) / 2)) ** 2 * self.thinness
        return max(student, _largest(value, reach))

    def p(self) -> float:
        """Two-sided p-value of no difference; McNemar's where every problem differs alike, so that nothing varies."""
        from scipy.stats import t

        if not self.stderr:
            return 1.0 if self.value == 0 else 2.0 ** (1 - self.problems)
        return 2 * float(t.sf(abs(self.value) / self.stderr, self.df))

    def p_equivalent(self, margin: float) -> float:
        """p-value of |difference| < margin (`analysis.equivalence.tost`).

        Models whose scores, 0 or 1, differ by the margin m on average differ on a share m of the problems at least, and so
        with a variance of m(1 − m) at least. The test takes no smaller one: where few problems differ, the t-test would claim
        what it has not seen (size at 164 problems 19 % without this, and 0 with it; `tests/analysis/test_equivalence.py`).
        """
        least = margin * (1 - margin) * self.thinness
        if self.stderr**2 >= least:
            return tost(self.value, self.stderr, self.df, margin)
        return tost(self.value, math.sqrt(least), max(self.df, self.problems - 1), margin)


def difference(sets: Sequence[np.ndarray], resampled: bool = True) -> Difference:
    """The mean of d over test sets, with its uncertainty.

    Seeds and problems are both random and crossed: every seed sees all problems. With V_s the variance of the seeds' means
    over S, V_i that of the problems' means (in each set over its N, then over the square of the number of sets) and V_si that
    of the rest, the variance of the mean is V_s + V_i − V_si, since both hold the rest (Brennan 2001, *Generalizability
    Theory*, chapter 3; of paired differences of language models' scores, Miller 2024, arXiv 2411.00640). Its degrees of
    freedom are Satterthwaite's. A bootstrap over three seeds would be too narrow: it draws from three values what varies, and
    knows nothing of t (`tests/analysis/test_paired.py` measures both).

    Args:
        sets: for each test set, score of one model minus that of the other [seeds, problems].
        resampled: False leaves `runs_low` and `runs_high` NaN, and takes a tenth of the time.

    Raises:
        ValueError: no problems, or sets of different numbers of seeds.
    """
    import numpy as np

    seeds = {len(d) for d in sets}
    if len(seeds) != 1 or 0 in seeds or min(d.shape[1] for d in sets) == 0:
        raise ValueError("a difference needs test sets with problems, all with the same seeds")
    (s,), k, n = seeds, len(sets), sum(d.shape[1] for d in sets)
    by_seed = np.mean([d.mean(1) for d in sets], axis=0)
    of_problems = [d.mean(0) for d in sets]
    v_problem = sum(_variance(m) / len(m) for m in of_problems) / k**2
    thinness = sum(1 / len(m) for m in of_problems) / k**2
    low, high = _bootstrap(of_problems) if resampled else (math.nan, math.nan)
    if s == 1:
        components = Components(math.nan, n * v_problem, math.nan)
        return Difference(float(by_seed[0]), math.sqrt(v_problem), max(n - k, 1), low, high, 1, n, thinness, components)
    rest = [d - d.mean(1, keepdims=True) - d.mean(0) + d.mean() for d in sets]
    of_rest = [float(np.square(r).sum()) / max((s - 1) * (r.shape[1] - 1), 1) for r in rest]
    v_seed = _variance(by_seed) / s
    v_rest = sum(each / (s * d.shape[1]) for each, d in zip(of_rest, sets, strict=True)) / k**2
    # Each of the two holds the rest, so their sum less the rest is at least the larger one, but for chance.
    variance = max(v_seed + v_problem - v_rest, v_seed, v_problem)
    df = degrees(v_seed, v_problem, v_rest, s, max(n - k, 1))
    components = Components(max(s * (v_seed - v_rest), 0.0), max(n * (v_problem - v_rest), 0.0), s * n * v_rest)
    return Difference(float(by_seed.mean()), math.sqrt(variance), df, low, high, s, n, thinness, components)


def _largest(value: float, reach: float) -> float:
    """The largest m, −1 to 1, with (m − value)² ≤ reach · |m| (1 − |m|)."""
    square = reach * (reach + 4 * value * (1 - value))
    if square >= 0 and (root := (2 * value + reach + math.sqrt(square)) / (2 * (1 + reach))) > 0:
        return root
    return (2 * value - reach + math.sqrt(reach * (reach - 4 * value * (1 + value)))) / (2 * (1 + reach))


def degrees(v_seed: float, v_problem: float, v_rest: float, seeds: int, problems: int) -> float:
    """Satterthwaite's, of V_s + V_i − V_si with `seeds` − 1, `problems` and (`seeds` − 1) · `problems` degrees of freedom."""
    variance = max(v_seed + v_problem - v_rest, v_seed, v_problem)
    terms = v_seed**2 / (seeds - 1) + v_problem**2 / problems + v_rest**2 / ((seeds - 1) * problems)
    return max(variance**2 / terms, seeds - 1) if terms else float(seeds - 1)


def _variance(values: np.ndarray) -> float:
    return float(values.var(ddof=1)) if len(values) > 1 else 0.0


def _bootstrap(of_problems: Sequence[np.ndarray]) -> tuple[float, float]:
    """Percentiles of the mean over sets when the problems of each set are drawn anew."""
    import numpy as np

    generator = np.random.default_rng(SEED)
    total = np.zeros(RESAMPLES)
    for means in of_problems:
        values, counts = np.unique(means.round(12), return_counts=True)  # few: a multinomial draw instead of every problem
        drawn = generator.multinomial(len(means), counts / len(means), size=RESAMPLES)
        total += drawn @ values / len(means)
    low, high = np.quantile(total / len(of_problems), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
