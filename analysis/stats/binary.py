"""What scores of 0 and 1 tell of the variance of their mean difference, however few problems differ."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import numpy as np


class Binary(NamedTuple):
    """Test sets of problems that are solved or not.

    Attributes:
        even: Σ_k 1/N_k over K².
        smallest: 1/N of the smallest set over K².
        sets: K.
        alike: the share of a problem's variance that averaging over the seeds leaves, 1/S to 1.
    """

    even: float
    smallest: float
    sets: int
    alike: float

    @classmethod
    def of(cls, sizes: Sequence[int], alike: float = 1.0) -> Self:
        """Of sets of those sizes."""
        k = len(sizes)
        return cls(sum(1 / n for n in sizes) / k**2, 1 / min(sizes) / k**2, k, alike)

    def variance(self, true: Any) -> Any:
        """Of the mean difference, at least, if it truly is that; a number or an array.

        Models that differ by m on average differ on a share m of the problems at least, with a variance of m(1 − m) each: in
        all sets alike, or in one set on a share K·m. The least follows from where the difference lies, which is not known, so
        this is the largest of: alike in all sets, and all of it in the smallest.

        >>> f"{Binary.of([100]).variance(0.01) ** 0.5:.5f}"  # a difference of one point has a standard error of one, too
        '0.00995'
        """
        m = np.abs(true)
        in_one = np.minimum(self.sets * m, 1)
        return self.alike * np.maximum(m * (1 - m) * self.even, in_one * (1 - in_one) * self.smallest)
