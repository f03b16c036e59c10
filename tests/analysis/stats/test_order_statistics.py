"""Medians with the interval that the order alone gives."""

import math

import numpy as np
import pytest

from analysis.stats.order_statistics import median


# Ends of the 95 % interval of a median by rank, from tables of the binomial distribution.
@pytest.mark.parametrize(("n", "rank"), [(6, 1), (8, 1), (9, 2), (10, 2), (12, 3), (15, 4), (20, 6), (25, 8)])
def test_the_interval_of_a_median_is_that_of_the_order_statistics(n, rank):
    values = [float(value) for value in np.random.default_rng(n).permutation(np.arange(1, n + 1))]
    assert median([*values, math.nan]) == ((n + 1) / 2, rank, n + 1 - rank, True)


def test_few_values_have_a_range_and_none_have_nothing():
    assert median([3.0, 1.0, 9.0, 4.0, 8.0]) == (4.0, 1.0, 9.0, False)
    assert all(math.isnan(value) for value in median([math.nan])[:3])
    assert not median([]).sure
