"""What a study needs, on simulated differences."""

import math

import numpy as np
import pytest
from scipy import stats

from analysis.stats.paired import Components, difference
from analysis.stats.power import problems_needed, seeds_needed, seeds_needed_unpaired


def test_the_seeds_that_are_asked_for_find_the_difference():
    components, problems = Components(0.02**2, 0.2**2, 0.1**2), 400
    seeds = int(seeds_needed(0.03, components, problems))
    generator, rates = np.random.default_rng(5), 0
    for _ in range(400):
        d = (
            0.03
            + 0.02 * generator.standard_normal((seeds, 1))
            + 0.2 * generator.standard_normal((1, problems))
            + 0.1 * generator.standard_normal((seeds, problems))
        )
        rates += difference([d], resampled=False).p() < 0.05
    assert 0.72 < rates / 400 <= 0.95
    assert seeds_needed(0.015, components, problems) > seeds


@pytest.mark.parametrize("seed", [0.0, 1e-9, 0.005])
def test_the_problems_that_are_asked_for_find_the_difference(seed):
    """Also where seeds matter little, which must not ask for their degrees of freedom."""
    components = Components(seed**2, 0.2**2, 0.2**2)
    problems = int(problems_needed(0.02, components, 3))
    generator, rates = np.random.default_rng(5), []
    for n in (problems, problems // 2):
        d = (
            0.02
            + seed * generator.standard_normal((400, 3, 1))
            + 0.2 * generator.standard_normal((400, 1, n))
            + 0.2 * generator.standard_normal((400, 3, n))
        )
        rates.append(np.mean([difference([row], resampled=False).p() < 0.05 for row in d]))
    assert 0.7 < rates[0] < 0.9 and rates[1] < 0.69
    assert problems_needed(0.02, Components(1e-18, 0.04, 0.04), 3) == problems_needed(0.02, Components(0.0, 0.04, 0.04), 3)


def test_no_number_of_seeds_makes_up_for_too_few_problems():
    assert seeds_needed(0.001, Components(0.0, 0.25, 0.0), 100) == math.inf
    assert math.isnan(seeds_needed(0.01, Components(math.nan, 0.25, math.nan), 100))


def test_problems_by_the_closed_form():
    """One seed: the normal approximation (z₀.₉₇₅ + z₀.₈)² σ²/δ², and a few more for Student's t."""
    expected = (stats.norm.ppf(0.975) + stats.norm.ppf(0.8)) ** 2 * 0.25 / 0.02**2
    assert problems_needed(0.02, Components(math.nan, 0.25, math.nan), 1) == pytest.approx(expected, abs=3)
    assert problems_needed(0.01, Components(0.05**2, 0.25, 0.0), 3) == math.inf


def test_the_unpaired_seeds_that_are_asked_for_find_the_difference():
    seeds = int(seeds_needed_unpaired(0.01, 0.004, 0.008))
    generator, rates = np.random.default_rng(3), []
    for n in (seeds, seeds - 2):
        a, b = generator.normal(0.01, 0.004, (4000, n)), generator.normal(0, 0.008, (4000, n))
        rates.append((stats.ttest_ind(a, b, axis=1, equal_var=False).pvalue < 0.05).mean())
    assert rates[0] >= 0.78 and rates[1] < 0.8
    assert math.isnan(seeds_needed_unpaired(0.01, math.nan, 0.1)) and seeds_needed_unpaired(1e-4, 0.1, 0.1) == math.inf


def test_models_that_answer_alike_need_many_problems():
    """Nothing varied, so nothing is known of what would; scores of 0 and 1 that differ by a point vary by m(1 − m)."""
    nothing = Components(0.0, 0.0, 0.0)
    assert seeds_needed(0.01, nothing, 164) == math.inf
    expected = (stats.norm.ppf(0.975) + stats.norm.ppf(0.8)) ** 2 * 0.99 / 0.01
    assert problems_needed(0.01, nothing, 3) == pytest.approx(expected, abs=3)
    assert math.isnan(seeds_needed_unpaired(0.01, 0.0, 0.0))
