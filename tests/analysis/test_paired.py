"""Intervals of differences on simulated problems and seeds whose truth is known."""

import math

import numpy as np
import pytest
from scipy import stats

from analysis import paired
from analysis.paired import difference


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch):
    """Enough where hundreds of intervals are counted."""
    monkeypatch.setattr(paired, "RESAMPLES", 300)


def simulated(generator, seeds, problems, sd_seed, sd_problem, sd_rest, mean=0.0):
    """d[s, i] of the two-way model."""
    return (
        mean
        + sd_seed * generator.standard_normal((seeds, 1))
        + sd_problem * generator.standard_normal((1, problems))
        + sd_rest * generator.standard_normal((seeds, problems))
    )


def covered(seeds, problems, spread, draws=250):
    """Shares of Student's intervals and of the bootstrap's over problems that hold the mean of new seeds and problems, 0."""
    generator = np.random.default_rng(7)
    student = runs = 0
    for _ in range(draws):
        found = difference([simulated(generator, seeds, problems, *spread)])
        low, high = found.interval()
        student += low <= 0 <= high
        runs += found.runs_low <= 0 <= found.runs_high
    return student / draws, runs / draws


@pytest.mark.parametrize("spread", [(0.02, 0.3, 0.3), (0.05, 0.3, 0.3), (0.0, 0.3, 0.3), (0.05, 0.0, 0.3)])
@pytest.mark.parametrize("seeds", [3, 8])
def test_the_interval_holds_the_truth_as_often_as_it_says(seeds, spread):
    student, _ = covered(seeds, 200, spread)
    assert student >= 0.91  # 0.95 less three standard errors of 250 draws


def test_it_is_not_wider_than_it_must_be():
    generator = np.random.default_rng(1)
    width = [np.diff(difference([simulated(generator, 10, 300, 0.05, 0.3, 0.2)]).interval())[0] for _ in range(100)]
    truth = math.sqrt(0.05**2 / 10 + 0.3**2 / 300 + 0.2**2 / 3000)
    assert np.median(width) == pytest.approx(2 * truth * stats.t.ppf(0.975, 15), rel=0.2)


def test_a_bootstrap_over_problems_alone_is_too_narrow_for_new_seeds():
    _, runs = covered(3, 200, (0.05, 0.3, 0.3))
    assert runs < 0.85


def test_one_seed_is_the_paired_t_test():
    d = np.random.default_rng(0).integers(-1, 2, 150).astype(float)
    found, known = difference([d[None]]), stats.ttest_1samp(d, 0)
    assert found.p() == pytest.approx(known.pvalue)
    assert found.interval() == pytest.approx((known.confidence_interval().low, known.confidence_interval().high))
    assert math.isnan(found.components.seed)


def test_components_are_those_of_the_analysis_of_variance():
    d = simulated(np.random.default_rng(3), 40, 400, 0.1, 0.3, 0.2)
    found = difference([d])
    assert found.components == pytest.approx((0.01, 0.09, 0.04), rel=0.5)
    variance = found.components.seed / 40 + found.components.problem / 400 + found.components.rest / 16000
    assert found.stderr**2 == pytest.approx(variance, rel=1e-9)


def test_a_task_is_the_mean_of_its_sets_whatever_their_sizes():
    small, large = np.full((2, 10), 0.5), np.zeros((2, 1000))
    assert difference([small, large]).value == pytest.approx(0.25)


def test_the_bootstrap_agrees_with_scipys():
    d = np.random.default_rng(0).integers(-1, 2, 120).astype(float)
    known = stats.bootstrap((d,), np.mean, method="percentile", random_state=0).confidence_interval
    found = difference([d[None]])
    assert (found.runs_low, found.runs_high) == pytest.approx((known.low, known.high), abs=0.02)


def test_equal_models_have_no_difference():
    found = difference([np.zeros((3, 50))])
    assert (found.value, found.stderr, found.p(), found.interval()) == (0, 0, 1, (0, 0))


@pytest.mark.parametrize("sets", [[], [np.zeros((0, 3))], [np.zeros((2, 0))], [np.zeros((2, 3)), np.zeros((3, 3))]])
def test_no_problems_or_other_seeds_are_refused(sets):
    with pytest.raises(ValueError, match="test sets with problems"):
        difference(sets)


def test_a_bootstrap_over_three_seeds_and_their_problems_is_too_narrow():
    """Why `Difference.interval` is Student's: both kinds on the same draws, with seeds that matter."""
    generator, spread, draws, bootstrap = np.random.default_rng(5), (0.1, 0.3, 0.3), 250, 0
    for _ in range(draws):
        d = simulated(generator, 3, 200, *spread)
        seeds, problems = (generator.multinomial(n, np.full(n, 1 / n), 300) / n for n in d.shape)
        low, high = np.quantile(np.einsum("rs,si,ri->r", seeds, d, problems), [0.025, 0.975])
        bootstrap += low <= 0 <= high
    assert bootstrap / draws < 0.85
    assert covered(3, 200, spread)[0] >= 0.91
