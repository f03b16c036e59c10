"""Welch's t-test from means, standard deviations and numbers alone."""

import math
from typing import NamedTuple

from scipy.stats import t

from analysis.stats import LEVEL, ZERO, student


class Side(NamedTuple):
    """Mean of `n` values and their sample standard deviation, NaN where it is unknown."""

    mean: float
    std: float
    n: int

    @property
    def informative(self) -> bool:
        """Whether it tells its noise: a single value does not."""
        return self.n > 1 and not math.isnan(self.std)


class Welch(NamedTuple):
    """Difference of two means with its standard error, degrees of freedom, and two-sided p of no difference."""

    value: float
    stderr: float
    df: float
    p: float

    def interval(self, level: float = LEVEL) -> tuple[float, float]:
        """Student's t interval of the difference."""
        return student.interval(self.value, self.stderr, self.df, level)


def welch(a: Side, b: Side, shared: bool = False) -> Welch | None:
    """Of the difference a − b: √(s₁²/n₁ + s₂²/n₂), with the degrees of freedom of Welch and Satterthwaite.

    Args:
        a: the first side.
        b: the second.
        shared: where one deviation is unknown, the other's stands for both, with its n − 1 degrees of freedom.

    Returns:
        None where nothing tells the noise: a deviation is unknown (with `shared`: both), or all that are known are 0. Few
        values that happen to be equal are no certainty.

    >>> test = welch(Side(0.62, 0.01, 3), Side(0.60, 0.02, 3))
    >>> low, high = test.interval()
    >>> f"{test.value:.3f} [{low:.3f}, {high:.3f}], {test.df:.2f} degrees of freedom, p = {test.p:.3f}"
    '0.020 [-0.022, 0.062], 2.94 degrees of freedom, p = 0.221'
    """
    informative = [side for side in (a, b) if side.informative]
    if len(informative) < (1 if shared else 2):
        return None
    parts = [(side if side.informative else informative[0]).std ** 2 / side.n for side in (a, b)]
    stderr = math.sqrt(sum(parts))
    if stderr < ZERO:
        return None
    if len(informative) == 1:
        df = float(informative[0].n - 1)
    else:
        df = stderr**4 / sum(part**2 / (side.n - 1) for part, side in zip(parts, informative, strict=True))
    value = a.mean - b.mean
    return Welch(value, stderr, df, 2 * float(t.sf(abs(value) / stderr, df)))
