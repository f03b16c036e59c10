"""Size and power of the claims on simulated differences."""

import math

import numpy as np
import pytest
from scipy import stats

from analysis.stats import paired
from analysis.stats.equivalence import holm, tost, word
from analysis.stats.paired import difference

DRAWS = 600


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch):
    """The bootstrap is not what is tested here."""
    monkeypatch.setattr(paired, "RESAMPLES", 10)


def claimed(true, margin=0.02, seeds=4, problems=200, spread=(0.01, 0.1, 0.1)):
    """How often differences whose mean is `true` are claimed to be equivalent."""
    generator = np.random.default_rng(11)
    count = 0
    for _ in range(DRAWS):
        d = (
            true
            + spread[0] * generator.standard_normal((seeds, 1))
            + spread[1] * generator.standard_normal((1, problems))
            + spread[2] * generator.standard_normal((seeds, problems))
        )
        count += difference([d]).p_equivalent(margin) < 0.05
    return count / DRAWS


def test_equivalence_is_rarely_claimed_of_a_difference_as_large_as_the_margin():
    assert claimed(true=0.02) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / DRAWS)


def test_equivalence_is_found_where_it_is_clear():
    assert claimed(true=0.0, margin=0.06) > 0.9


def test_the_two_one_sided_tests_are_scipys():
    d = np.random.default_rng(0).normal(0.002, 0.05, 60)
    p = tost(d.mean(), stats.sem(d), 59, margin=0.015)
    lower = stats.ttest_1samp(d, -0.015, alternative="greater").pvalue
    upper = stats.ttest_1samp(d, 0.015, alternative="less").pvalue
    assert p == pytest.approx(max(lower, upper))


def binary(generator, problems, seeds, better, worse, alike):
    """d of models that answer differently on a share `better` + `worse` of the problems, in each seed `alike` or anew."""
    drawn = generator.choice([1.0, -1.0, 0.0], p=[better, worse, 1 - better - worse], size=(1 if alike else seeds, problems))
    return np.broadcast_to(drawn, (seeds, problems))


@pytest.mark.parametrize("problems", [50, 164, 500, 1319])
@pytest.mark.parametrize(("seeds", "alike"), [(1, True), (3, True), (3, False)])
@pytest.mark.parametrize(("better", "worse"), [(0.01, 0.0), (0.02, 0.01)])
def test_its_size_holds_where_few_problems_differ(problems, seeds, alike, better, worse):
    """Scores of 0 and 1 whose true difference is the margin, one point: the t-test alone claims up to 60 % of them equal."""
    generator = np.random.default_rng(3)
    p_values = [difference([binary(generator, problems, seeds, better, worse, alike)]).p_equivalent(0.01) for _ in range(DRAWS)]
    assert np.mean(np.array(p_values) < 0.05) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / DRAWS)


@pytest.mark.parametrize(("sizes", "margin"), [((50, 5000), 0.02), ((100, 5000), 0.01), ((50, 1000, 1000, 1000), 0.01)])
def test_its_size_holds_where_the_smallest_set_alone_differs(sizes, margin):
    generator, claims = np.random.default_rng(3), 0
    share = margin * len(sizes)
    for _ in range(DRAWS):
        first = (generator.random((1, sizes[0])) < share).astype(float)
        claims += difference([first, *(np.zeros((1, n)) for n in sizes[1:])]).p_equivalent(margin) < 0.05
    assert claims / DRAWS <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / DRAWS)


@pytest.mark.parametrize(
    ("seeds", "problems", "noise"), [(2, 1319, 0.005), (2, 5000, 0.005), (3, 1319, 0.01), (3, 5000, 0.005)]
)
def test_its_size_holds_where_seeds_happen_to_agree(seeds, problems, noise):
    """Few problems differ, and how many, hangs on the seed."""
    generator, claims = np.random.default_rng(3), 0
    for _ in range(DRAWS):
        rates = np.clip(0.01 + noise * generator.standard_normal((seeds, 1)), 0, 1)
        claims += difference([(generator.random((seeds, problems)) < rates).astype(float)]).p_equivalent(0.01) < 0.05
    assert claims / DRAWS <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / DRAWS)


def test_the_t_test_alone_does_not_hold_it():
    generator, claims = np.random.default_rng(3), 0
    for _ in range(DRAWS):
        p = difference([binary(generator, 164, 1, 0.01, 0.0, True)])
        claims += not tost(p.value, p.stderr, p.df, 0.01) >= 0.05  # NaN: no problem differs
    assert claims / DRAWS > 0.15


def test_models_that_answer_alike_are_equivalent_on_enough_problems_only():
    assert difference([np.zeros((1, 164))]).p_equivalent(0.01) > 0.05
    assert difference([np.zeros((3, 164))]).p_equivalent(0.01) > 0.05
    assert difference([np.zeros((1, 1319))]).p_equivalent(0.01) < 0.001


@pytest.mark.parametrize(
    ("p", "expected"),
    [((0.9, 0.01), "equivalent"), ((0.01, 0.9), "different"), ((0.01, 0.01), "both"), ((0.2, 0.2), "open")],
)
def test_four_verdicts(p, expected):
    assert word(*p) == expected


def test_what_is_unknown_is_open():
    assert math.isnan(tost(0.0, 0.0, 3)) and math.isnan(tost(0.02, math.nan, 3))
    assert word(math.nan, math.nan) == "open"


@pytest.mark.parametrize("margin", [0, -0.01, math.nan])
def test_a_margin_must_be_positive(margin):
    with pytest.raises(ValueError, match="must be positive"):
        tost(0.0, 0.01, 3, margin)


def test_holm_against_scipys_definition_by_hand():
    assert holm([0.01, math.nan, 0.04, 0.03]) == pytest.approx([0.03, math.nan, 0.06, 0.06], nan_ok=True)
    assert holm([0.5, 0.6]) == [1.0, 1.0]
