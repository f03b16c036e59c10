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
    one, other = generator.normal(0.5, 0.02, n), generator.normal(0.52, 0.05, m)
    found, reference = welch(side(one), side(other)), stats.ttest_ind(one, other, equal_var=False)
    assert found.p == pytest.approx(reference.pvalue)
    assert found.value / found.stderr == pytest.approx(reference.statistic) and found.df == pytest.approx(reference.df)
    assert found.interval(0.9) == pytest.approx(tuple(reference.confidence_interval(0.9)))
    assert found.p == pytest.approx(stats.ttest_ind_from_stats(*side(one), *side(other), equal_var=False).pvalue)


@pytest.mark.parametrize("single", [Side(0.5, math.nan, 1), Side(0.5, 0.1, 1)], ids=["no deviation", "that of one value"])
def test_one_known_deviation_stands_for_both_if_asked(single):
    """A single value beside several is Student's test of pooled variance, to which the single one adds nothing."""
    several = [0.52, 0.55, 0.53, 0.58]
    assert welch(single, side(several)) is None
    found, reference = welch(single, side(several), shared=True), stats.ttest_ind([0.5], several)
    assert found.df == 3 and found.p == pytest.approx(reference.pvalue)
    assert welch(side(several), single, shared=True).p == pytest.approx(reference.pvalue)


def test_an_unknown_deviation_of_several_values():
    found = welch(Side(0.5, math.nan, 5), Side(0.6, 0.03, 3), shared=True)
    assert found.df == 2 and found.stderr == pytest.approx(0.03 * math.sqrt(1 / 5 + 1 / 3))


def test_no_variance_is_no_certainty():
    equal = side([0.7, 0.7, 0.7])  # their deviation is not 0 but 1e-16
    assert equal.std > 0
    assert welch(equal, Side(0.5, 0.0, 3)) is None and welch(equal, equal) is None
    assert welch(equal, Side(0.5, math.nan, 1), shared=True) is None
    assert welch(Side(0.5, math.nan, 1), Side(0.6, math.nan, 1), shared=True) is None
    one_varies = welch(equal, side([0.5, 0.51, 0.52]))
    assert one_varies.df == pytest.approx(2) and one_varies.p < 0.05
