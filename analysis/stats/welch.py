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
    def known(self) -> bool:
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


def welch(one: Side, other: Side, shared: bool = False) -> Welch | None:
    """Of the difference `one` − `other`: √(s₁²/n₁ + s₂²/n₂), with the degrees of freedom of Welch and Satterthwaite.

    Args:
        one: the first side.
        other: the second.
        shared: where one deviation is unknown, the other's stands for both, with its n − 1 degrees of freedom.

    Returns:
        None where nothing tells the noise: a deviation is unknown (with `shared`: both), or all that are known are 0. Few
        values that happen to be equal are no certainty.
    """
    known = [side for side in (one, other) if side.known]
    if len(known) < (1 if shared else 2):
        return None
    parts = [(side if side.known else known[0]).std ** 2 / side.n for side in (one, other)]
    stderr = math.sqrt(sum(parts))
    if stderr < ZERO:
        return None
    if len(known) == 1:
        df = float(known[0].n - 1)
    else:
        df = stderr**4 / sum(part**2 / (side.n - 1) for part, side in zip(parts, known, strict=True))
    value = one.mean - other.mean
    return Welch(value, stderr, df, 2 * float(t.sf(abs(value) / stderr, df)))
