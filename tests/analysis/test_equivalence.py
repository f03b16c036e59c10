"""Size and power of the claims on simulated differences, and what a study needs."""

import math

import numpy as np
import pytest
from scipy import stats

from analysis import paired
from analysis.equivalence import holm, problems_needed, seeds_needed, seeds_needed_unpaired, verdict
from analysis.paired import Components, difference

DRAWS = 600


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch):
    """The bootstrap is not what is tested here."""
    monkeypatch.setattr(paired, "RESAMPLES", 10)


def claimed(true, margin=0.02, seeds=4, problems=200, spread=(0.01, 0.1, 0.1)):
    """How often "equivalent" (or "both") is claimed of differences whose mean is `true`."""
    generator = np.random.default_rng(11)
    count = 0
    for _ in range(DRAWS):
        d = (
            true
            + spread[0] * generator.standard_normal((seeds, 1))
            + spread[1] * generator.standard_normal((1, problems))
            + spread[2] * generator.standard_normal((seeds, problems))
        )
        found = difference([d])
        count += verdict(found.value, found.stderr, found.df, margin).word in ("equivalent", "both")
    return count / DRAWS


def test_equivalence_is_rarely_claimed_of_a_difference_as_large_as_the_margin():
    assert claimed(true=0.02) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / DRAWS)


def test_equivalence_is_found_where_it_is_clear():
    assert claimed(true=0.0, margin=0.06) > 0.9


def test_the_two_one_sided_tests_are_scipys():
    d = np.random.default_rng(0).normal(0.002, 0.05, 60)
    found = verdict(d.mean(), stats.sem(d), 59, margin=0.015)
    lower = stats.ttest_1samp(d, -0.015, alternative="greater").pvalue
    upper = stats.ttest_1samp(d, 0.015, alternative="less").pvalue
    assert found.p_equivalent == pytest.approx(max(lower, upper))
    assert found.p_different == pytest.approx(stats.ttest_1samp(d, 0).pvalue)


@pytest.mark.parametrize(
    ("value", "stderr", "word"),
    [(0.0, 0.002, "equivalent"), (0.05, 0.002, "different"), (0.006, 0.001, "both"), (0.005, 0.01, "open")],
)
def test_four_verdicts(value, stderr, word):
    assert verdict(value, stderr, 1000).word == word


def test_no_uncertainty_and_unknown_uncertainty():
    assert verdict(0.0, 0.0, 3).word == "equivalent"
    assert verdict(0.02, 0.0, 3).word == "different"
    assert verdict(0.02, math.nan, 3).word == "open"


@pytest.mark.parametrize("margin", [0, -0.01, math.nan])
def test_a_margin_must_be_positive(margin):
    with pytest.raises(ValueError, match="must be positive"):
        verdict(0.0, 0.01, 3, margin)


def test_holm_against_scipys_definition_by_hand():
    assert holm([0.01, math.nan, 0.04, 0.03]) == pytest.approx([0.03, math.nan, 0.06, 0.06], nan_ok=True)
    assert holm([0.5, 0.6]) == [1.0, 1.0]


def test_the_seeds_that_are_asked_for_find_the_difference():
    components, problems = Components(0.02**2, 0.2**2, 0.1**2), 400
    seeds = int(seeds_needed(0.03, components, problems))
    generator, found = np.random.default_rng(5), 0
    for _ in range(400):
        d = (
            0.03
            + 0.02 * generator.standard_normal((seeds, 1))
            + 0.2 * generator.standard_normal((1, problems))
            + 0.1 * generator.standard_normal((seeds, problems))
        )
        found += difference([d]).p() < 0.05
    assert 0.72 < found / 400 <= 0.95
    assert seeds_needed(0.015, components, problems) > seeds


def test_no_number_of_seeds_makes_up_for_too_few_problems():
    assert seeds_needed(0.001, Components(0.0, 0.25, 0.0), 100) == math.inf
    assert math.isnan(seeds_needed(0.01, Components(math.nan, 0.25, math.nan), 100))


def test_problems_by_the_closed_form():
    """One seed: the normal approximation (z₀.₉₇₅ + z₀.₈)² σ²/δ²."""
    expected = (stats.norm.ppf(0.975) + stats.norm.ppf(0.8)) ** 2 * 0.25 / 0.02**2
    assert problems_needed(0.02, Components(math.nan, 0.25, math.nan), 1) == pytest.approx(expected, abs=2)
    assert problems_needed(0.01, Components(0.05**2, 0.25, 0.0), 3) == math.inf


def test_the_unpaired_seeds_that_are_asked_for_find_the_difference():
    seeds = int(seeds_needed_unpaired(0.01, 0.004, 0.008))
    generator, found = np.random.default_rng(3), []
    for n in (seeds, seeds - 2):
        one, other = generator.normal(0.01, 0.004, (4000, n)), generator.normal(0, 0.008, (4000, n))
        found.append((stats.ttest_ind(one, other, axis=1, equal_var=False).pvalue < 0.05).mean())
    assert found[0] >= 0.78 and found[1] < 0.8
    assert math.isnan(seeds_needed_unpaired(0.01, math.nan, 0.1)) and seeds_needed_unpaired(1e-4, 0.1, 0.1) == math.inf
