"""Means of clustered numbers, on data whose truth is known."""

import math

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from analysis.stats.clusters import Member, mean


def test_clusters_of_one_number_give_students_interval():
    values = [0.3, 1.2, -0.4, 2.0]
    low, high = ttest_1samp(values, 0).confidence_interval(0.95)
    assert mean([Member(i, value) for i, value in enumerate(values)]) == pytest.approx((np.mean(values), low, high))


def test_equal_numbers_of_a_cluster_count_once():
    once = mean([Member(i, value) for i, value in enumerate([0.3, 1.2, -0.4])])
    thrice = mean([Member(i, value) for i, value in enumerate([0.3, 1.2, -0.4]) for _ in range(3)])
    assert thrice == pytest.approx(once)


@pytest.mark.parametrize("sizes", [(6,) * 4, (6,) * 8, (15, 15, 5, 5), (20, 3, 2), (20, 3, 2, 2)])
@pytest.mark.parametrize("within", [0.5, 0.1])
def test_the_interval_covers_the_mean_of_other_clusters_of_any_size(sizes, within):
    """Numbers share what is peculiar to their cluster; an interval that takes them for independent covers far less."""
    generator = np.random.default_rng(0)
    hits, naive, repeats = 0, 0, 800
    for _ in range(repeats):
        rows = [generator.standard_normal() + within * generator.standard_normal(size) for size in sizes]
        estimate = mean([Member(i, value) for i, row in enumerate(rows) for value in row.tolist()])
        hits += estimate.low <= 0 <= estimate.high
        low, high = ttest_1samp(np.concatenate(rows), 0).confidence_interval(0.95)
        naive += low <= 0 <= high
    assert 0.935 < hits / repeats < 0.965 and naive / repeats < 0.75


def test_each_cluster_counts_once_however_many_numbers_it_has():
    members = [*(Member("a", value) for value in (0.0, 1.0, 2.0, 1.0)), Member("b", 2.0), Member("c", 6.0)]
    low, high = ttest_1samp([1.0, 2.0, 6.0], 0).confidence_interval(0.95)
    assert mean(members) == pytest.approx((3.0, low, high))


def test_few_clusters_have_no_interval():
    values = np.random.default_rng(0).standard_normal(30).tolist()
    estimate = mean([Member(i % 2, value) for i, value in enumerate(values)])
    assert estimate.value == pytest.approx(np.mean(values)) and math.isnan(estimate.low) and math.isnan(estimate.high)
    assert all(map(math.isnan, mean([])))
