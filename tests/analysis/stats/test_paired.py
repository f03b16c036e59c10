"""Intervals of differences on simulated problems and seeds whose truth is known."""

import math

import numpy as np
import pytest
from scipy import stats

from analysis.stats import paired
from analysis.stats.paired import difference


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
        estimate = difference([simulated(generator, seeds, problems, *spread)])
        low, high = estimate.interval()
        student += low <= 0 <= high
        runs += estimate.runs_low <= 0 <= estimate.runs_high
    return student / draws, runs / draws


@pytest.mark.parametrize("spread", [(0.02, 0.3, 0.3), (0.05, 0.3, 0.3), (0.1, 0.3, 0.3), (0.0, 0.3, 0.3), (0.05, 0.0, 0.3)])
@pytest.mark.parametrize("seeds", [2, 3, 8])
def test_the_interval_holds_the_truth_as_often_as_it_says(seeds, spread):
    student, _ = covered(seeds, 200, spread)
    assert student >= 0.92  # 0.95 less two standard errors of 250 draws


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
    estimate, reference = difference([d[None]]), stats.ttest_1samp(d, 0)
    assert estimate.p() == pytest.approx(reference.pvalue)
    assert estimate.interval() == pytest.approx((reference.confidence_interval().low, reference.confidence_interval().high))
    assert math.isnan(estimate.components.seed)


def test_components_are_those_of_the_analysis_of_variance():
    d = simulated(np.random.default_rng(3), 40, 400, 0.1, 0.3, 0.2)
    estimate = difference([d])
    assert estimate.components == pytest.approx((0.01, 0.09, 0.04), rel=0.5)
    variance = estimate.components.seed / 40 + estimate.components.problem / 400 + estimate.components.rest / 16000
    assert estimate.stderr**2 == pytest.approx(variance, rel=1e-9)


def test_a_task_is_the_mean_of_its_sets_whatever_their_sizes():
    small, large = np.full((2, 10), 0.5), np.zeros((2, 1000))
    assert difference([small, large]).value == pytest.approx(0.25)


def test_the_bootstrap_agrees_with_scipys():
    d = np.random.default_rng(0).integers(-1, 2, 120).astype(float)
    reference = stats.bootstrap((d,), np.mean, method="percentile", random_state=0).confidence_interval
    estimate = difference([d[None]])
    assert (estimate.runs_low, estimate.runs_high) == pytest.approx((reference.low, reference.high), abs=0.02)


def test_models_that_answer_alike_may_differ_on_other_problems():
    """The end of the interval is the score test's: t² m(1 − m) / N = m²."""
    for seeds in (1, 3):
        estimate = difference([np.zeros((seeds, 50))])
        end = stats.t.ppf(0.975, 49) ** 2 / 50
        assert (estimate.value, estimate.stderr, estimate.p()) == (0, 0, 1)
        assert estimate.interval() == pytest.approx((-end / (1 + end), end / (1 + end)))


def test_models_of_which_one_alone_solves_each_problem_have_mcnemars_p():
    estimate = difference([np.ones((1, 5))])
    assert estimate.p() == pytest.approx(stats.binomtest(5, 5).pvalue)
    low, high = estimate.interval()
    assert 0.3 < low < 0.5 and high == pytest.approx(1)


@pytest.mark.parametrize("right", [0, 3, 100, 161, 164])
def test_the_interval_of_one_models_score_reaches_as_far_as_wilsons(right):
    scores = np.repeat([1.0, 0.0], [right, 164 - right])[None]
    low, high = difference([scores]).interval()
    wilson = stats.binomtest(right, 164).proportion_ci(method="wilson")
    assert low <= wilson.low + 1e-3 and high >= wilson.high - 1e-3
    if right in (0, 164):
        assert (max(low, 0), high) == pytest.approx((wilson.low, wilson.high), abs=2e-3)


@pytest.mark.parametrize("truth", [0.98, 0.5])
def test_the_interval_of_one_models_score_holds_the_truth(truth):
    generator, covered = np.random.default_rng(1), 0
    for _ in range(400):
        low, high = difference([(generator.random((1, 164)) < truth).astype(float)], resampled=False).interval()
        covered += low <= truth <= high
    assert covered / 400 >= 0.92


@pytest.mark.parametrize(("better", "worse"), [(0.01, 0.0), (0.02, 0.01), (0.2, 0.1)])
@pytest.mark.parametrize(("seeds", "problems"), [(1, 50), (1, 164), (3, 164)])
def test_the_interval_holds_the_truth_where_few_problems_differ(seeds, problems, better, worse):
    generator, covered = np.random.default_rng(2), 0
    for _ in range(400):
        d = generator.choice([1.0, -1.0, 0.0], p=[better, worse, 1 - better - worse], size=(1, problems))
        low, high = difference([np.repeat(d, seeds, 0)], resampled=False).interval()
        covered += low <= better - worse <= high
    assert covered / 400 >= 0.92


@pytest.mark.parametrize("sizes", [(8, 1000), (10, 10, 1000)])
def test_the_interval_of_unequal_sets_holds_the_truth(sizes):
    """The smallest sets carry the variance, and have few degrees of freedom."""
    generator, covered = np.random.default_rng(2), 0
    for _ in range(400):
        d = [0.3 * generator.standard_normal((1, n)) for n in sizes]
        low, high = difference(d, resampled=False).interval()
        covered += low <= 0 <= high
    assert covered / 400 >= 0.93


def test_several_seeds_and_sets_have_the_variance_of_the_model():
    """Two sets of different sizes: each part of the variance by its own number."""
    generator, differences = np.random.default_rng(6), []
    sizes, spread = (40, 400), (0.05, 0.3, 0.2)
    for _ in range(300):
        seed = spread[0] * generator.standard_normal((4, 1))
        d = [
            seed + spread[1] * generator.standard_normal((1, n)) + spread[2] * generator.standard_normal((4, n)) for n in sizes
        ]
        differences.append(difference(d, resampled=False))
    truth = spread[0] ** 2 / 4 + sum((spread[1] ** 2 + spread[2] ** 2 / 4) / n for n in sizes) / 4
    assert np.mean([estimate.stderr**2 for estimate in differences]) == pytest.approx(truth, rel=0.1)
    assert np.var([estimate.value for estimate in differences]) == pytest.approx(truth, rel=0.25)


def test_mcnemars_p_counts_the_problems_that_changed():
    assert difference([np.ones((1, 2)), np.zeros((1, 1000))]).p() == pytest.approx(0.5)
    assert difference([np.full((1, 7), 0.1)]).p() == pytest.approx(2**-6)


def test_graded_scores_have_students_interval():
    d = np.random.default_rng(0).normal(0.5, 0.15, 80)
    reference = stats.ttest_1samp(d, 0).confidence_interval()
    assert difference([d[None]]).interval() == pytest.approx((reference.low, reference.high))


def test_scores_of_several_seeds_that_differ_have_no_wider_interval_than_they_must():
    """Five seeds that solve other problems each time: the mean of a problem varies less than one seed's score."""
    generator = np.random.default_rng(4)
    scores = (generator.random((5, 164)) < 0.5).astype(float)
    low, high = difference([scores], resampled=False).interval()
    truth = 2 * stats.norm.ppf(0.975) * math.sqrt(0.25 / (5 * 164))
    assert truth < high - low < 1.8 * truth


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


@pytest.mark.parametrize("seeds", [1, 3])
def test_problems_of_one_label_count_once(seeds):
    """Two equal rows of each problem: the interval of single ones, where independent rows would give a narrower one."""
    generator = np.random.default_rng(1)
    d = simulated(generator, seeds, 40, 0.02, 0.3, 0.2)
    twice, labels = np.repeat(d, 2, axis=1), [[str(i // 2) for i in range(80)]]
    once, together, apart = difference([d]), difference([twice], labels=labels), difference([twice])
    assert (together.problems, together.changed) == (40, 40)
    assert together.interval() == pytest.approx(once.interval())
    assert together.stderr == pytest.approx(once.stderr) and apart.stderr < 0.9 * once.stderr
    assert difference([twice], labels=[[str(i) for i in range(80)]]) == apart


def test_labels_of_several_sizes_have_the_cluster_robust_error():
    generator = np.random.default_rng(2)
    sizes = [1, 2, 5, 1, 3, 4, 2, 6]
    labels = [str(g) for g, size in enumerate(sizes) for _ in range(size)]
    d = generator.random((1, len(labels)))
    g, n, centred = len(sizes), d.size, d[0] - d.mean()
    sums = [sum(x for x, label in zip(centred, labels, strict=True) if label == str(k)) for k in range(g)]
    by_label = difference([d], labels=[labels])
    assert by_label.value == pytest.approx(d.mean())
    assert by_label.stderr == pytest.approx(math.sqrt(g / (g - 1) * sum(x**2 for x in sums)) / n)
