"""Means of clustered numbers, on data whose truth is known."""

import math

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from analysis.clusters import Member, mean


def test_clusters_of_one_number_give_students_interval():
    values = [0.3, 1.2, -0.4, 2.0]
    low, high = ttest_1samp(values, 0).confidence_interval(0.95)
    assert mean([Member(i, value) for i, value in enumerate(values)]) == pytest.approx((np.mean(values), low, high))


def test_equal_numbers_of_a_cluster_count_once():
    once = mean([Member(i, value) for i, value in enumerate([0.3, 1.2, -0.4])])
    thrice = mean([Member(i, value) for i, value in enumerate([0.3, 1.2, -0.4]) for _ in range(3)])
    assert thrice == pytest.approx(once)


@pytest.mark.parametrize("clusters", [4, 8])
def test_the_interval_covers_the_mean_of_other_clusters(clusters):
    """Numbers share what is peculiar to their cluster; an interval that takes them for independent covers far less."""
    generator = np.random.default_rng(0)
    hits, naive, repeats = 0, 0, 600
    for _ in range(repeats):
        values = generator.standard_normal((clusters, 1)) + 0.5 * generator.standard_normal((clusters, 6))
        found = mean([Member(i, value) for i, row in enumerate(values.tolist()) for value in row])
        hits += found.low <= 0 <= found.high
        low, high = ttest_1samp(values.ravel(), 0).confidence_interval(0.95)
        naive += low <= 0 <= high
    assert 0.93 < hits / repeats < 0.97 and naive / repeats < 0.75


def test_few_clusters_have_the_interval_of_their_own_numbers_and_few_numbers_none():
    values = np.random.default_rng(0).standard_normal(30).tolist()
    found = mean([Member(i % 2, value) for i, value in enumerate(values)])
    standard_error = np.std(values) / math.sqrt(len(values))
    assert found.high - found.low == pytest.approx(2 * 1.96 * standard_error, rel=0.05)
    assert mean([Member(0, 1.0), Member(1, 2.0)])[0] == 1.5 and math.isnan(mean([Member(0, 1.0), Member(1, 2.0)]).low)
    assert all(map(math.isnan, mean([])))
