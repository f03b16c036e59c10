"""Welch's test against scipy's on the values themselves."""

import math

import numpy as np
import pytest
from scipy import stats

from analysis.stats.welch import Side, welch


def side(values):
    return Side(float(np.mean(values)), float(np.std(values, ddof=1)), len(values))


@pytest.mark.parametrize(("n", "m"), [(2, 2), (3, 5), (30, 4)])
def test_as_scipys(n, m):
    generator = np.random.default_rng(n)
    a, b = generator.normal(0.5, 0.02, n), generator.normal(0.52, 0.05, m)
    test, reference = welch(side(a), side(b)), stats.ttest_ind(a, b, equal_var=False)
    assert test.p == pytest.approx(reference.pvalue)
    assert test.value / test.stderr == pytest.approx(reference.statistic) and test.df == pytest.approx(reference.df)
    assert test.interval(0.9) == pytest.approx(tuple(reference.confidence_interval(0.9)))
    assert test.p == pytest.approx(stats.ttest_ind_from_stats(*side(a), *side(b), equal_var=False).pvalue)


@pytest.mark.parametrize("single", [Side(0.5, math.nan, 1), Side(0.5, 0.1, 1)], ids=["no deviation", "that of one value"])
def test_one_known_deviation_stands_for_both_if_asked(single):
    """A single value beside several is Student's test of pooled variance, to which the single one adds nothing."""
    several = [0.52, 0.55, 0.53, 0.58]
    assert welch(single, side(several)) is None
    test, reference = welch(single, side(several), shared=True), stats.ttest_ind([0.5], several)
    assert test.df == 3 and test.p == pytest.approx(reference.pvalue)
    assert welch(side(several), single, shared=True).p == pytest.approx(reference.pvalue)


def test_an_unknown_deviation_of_several_values():
    test = welch(Side(0.5, math.nan, 5), Side(0.6, 0.03, 3), shared=True)
    assert test.df == 2 and test.stderr == pytest.approx(0.03 * math.sqrt(1 / 5 + 1 / 3))


def test_no_variance_is_no_certainty():
    equal = side([0.7, 0.7, 0.7])  # their deviation is not 0 but 1e-16
    assert equal.std > 0
    assert welch(equal, Side(0.5, 0.0, 3)) is None and welch(equal, equal) is None
    assert welch(equal, Side(0.5, math.nan, 1), shared=True) is None
    assert welch(Side(0.5, math.nan, 1), Side(0.6, math.nan, 1), shared=True) is None
    one_varies = welch(equal, side([0.5, 0.51, 0.52]))
    assert one_varies.df == pytest.approx(2) and one_varies.p < 0.05
