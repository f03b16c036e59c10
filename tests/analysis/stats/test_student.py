"""The t distribution of a variance with two parts."""

import pytest
from scipy import stats

from analysis.stats.student import critical, tail


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_one_part_alone_is_students(share):
    df = 3 if share else 40
    assert critical(0.025, share, 3, 40) == pytest.approx(stats.t.ppf(0.975, df))
    assert tail(2.2, share, 3, 40) == pytest.approx(stats.t.sf(2.2, df))
    assert tail(-0.4, share, 3, 40) == pytest.approx(stats.t.sf(-0.4, df))


def test_two_parts_are_weighted():
    expected = 0.3 * stats.t.ppf(0.975, 1) + 0.7 * stats.t.ppf(0.975, 100)
    assert critical(0.025, 0.3, 1, 100) == pytest.approx(expected)
    assert tail(expected, 0.3, 1, 100) == pytest.approx(0.025)


@pytest.mark.parametrize("point", [-5.0, 0.0, 0.1, 3.0, 40.0])
def test_the_tail_is_the_inverse(point):
    p = tail(point, 0.6, 2, 50)
    assert 0 < p < 1
    assert (critical(p, 0.6, 2, 50) if p <= 0.5 else -critical(1 - p, 0.6, 2, 50)) == pytest.approx(point, abs=1e-6)


def test_what_is_beyond_all_numbers_is_nothing():
    assert tail(1e200, 0.5, 5, 50) == 0.0
