"""Candidates and their numbers, overrides and encodings."""

import itertools

import numpy as np
import pytest

from sweeps.errors import SweepError
from sweeps.search import design
from sweeps.search.base import Observation, filled_scores, warp
from sweeps.space import Axis, Space

AXES = {
    "rank": ["1", "4", "16"],
    "alpha_mult": ["0.5", "2"],
    "variant.dropout": ["0", "0.05", "0.1"],
    "variant": ["lora", "pissa"],
}


@pytest.fixture
def space():
    return Space(AXES, {"variant.alpha": "rank * alpha_mult"}, ["alpha_mult"])


def test_candidates_are_the_product_with_the_last_axis_fastest(space):
    products = list(itertools.product(*AXES.values()))
    assert len(space) == len(products) == 36
    for candidate, texts in enumerate(products):
        assert tuple(space.texts(candidate).values()) == texts
        assert space.candidate(space.indices(candidate)) == candidate
    with pytest.raises(IndexError):
        space.indices(36)


def test_a_derived_key_is_the_product_of_its_axes(space):
    candidate = space.candidate((2, 0, 1, 1))
    assert space.overrides(candidate) == ["rank=16", "variant.dropout=0.05", "variant=pissa", "variant.alpha=8"]
    shown = Space(AXES, {"variant.alpha": "rank * alpha_mult"})
    assert "alpha_mult=0.5" in shown.overrides(candidate)


def test_orders_of_magnitude_are_encoded_by_their_logarithm_and_words_by_indicators(space):
    rows = {tuple(space.texts(i).values()): row for i, row in enumerate(space.encoded)}
    assert space.encoded.shape == (36, 5)
    np.testing.assert_allclose(rows["4", "0.5", "0.05", "lora"], [0.5, 0, 0.5, 1, 0])
    np.testing.assert_allclose(rows["16", "2", "0.1", "pissa"], [1, 1, 1, 0, 1])
    assert Space({"seed": ["3"], "lr": ["1e-3", "2e-3"]}).encoded.tolist() == [[0], [1]]


@pytest.mark.parametrize(
    ("values", "logarithmic"),
    [
        ("4,8,16,32", True),
        ("32,4,16,8", True),
        ("10,20,30", False),
        ("1e-4,3e-4,1e-3", True),
        ("2e-3,3e-3,4e-3", False),
        ("1,2,4", True),
        ("0,1,2", False),
        ("-1,1,10", False),
        ("2,16", False),
        ("1,10", True),
        ("16", False),
        ("lora,pissa", False),
    ],
)
def test_the_scale_of_an_axis_is_that_on_which_its_values_are_even(values, logarithmic):
    texts = values.split(",")
    axis = Axis("x", tuple(texts))
    assert axis.logarithmic == logarithmic
    if values == "4,8,16,32":
        np.testing.assert_allclose(Space({"x": texts}).encoded[:, 0], [0, 1 / 3, 2 / 3, 1])


def test_the_cover_has_every_value_and_no_candidate_twice(space):
    cover = space.cover()
    assert len(cover) == len(set(cover)) == 1 + 2 + 1 + 2 + 1
    for key, texts in AXES.items():
        assert {space.texts(candidate)[key] for candidate in cover} == set(texts)


@pytest.mark.parametrize(
    ("axes", "derived", "word"),
    [
        ({}, {}, "nothing to search"),
        ({"lr": []}, {}, "lr has no values"),
        ({"lr": ["1", "2", "1"]}, {}, "lr has 1 twice$"),
        ({"lr": ["0", "1", "0.0"]}, {}, "lr has 0 twice, also as 0.0"),
        ({"samples": ["null", "800", "8e2"]}, {}, "samples has 800 twice, also as 8e2"),
        ({"variant": ["lora", "pissa", "lora"]}, {}, "variant has lora twice$"),
        ({"lr": ["1", "2"]}, {"lr": "lr * lr"}, "both given and derived"),
        ({"lr": ["1", "2"]}, {"alpha": "rank * lr"}, "from rank, which is no axis"),
        ({"variant": ["lora", "pissa"]}, {"alpha": "variant"}, "from variant, which is no axis of numbers"),
    ],
)
def test_a_space_that_cannot_be_searched_is_one_line(axes, derived, word):
    with pytest.raises(SweepError, match=word) as caught:
        Space(axes, derived)
    assert "\n" not in str(caught.value)


def test_another_space_has_another_digest(space):
    digests = {
        space.digest,
        Space(AXES).digest,
        Space(AXES | {"rank": ["1", "4", "8"]}, {"variant.alpha": "rank * alpha_mult"}, ["alpha_mult"]).digest,
        Space(dict(reversed(AXES.items())), {"variant.alpha": "rank * alpha_mult"}, ["alpha_mult"]).digest,
    }
    assert len(digests) == 4


@pytest.mark.parametrize("kind", design.DESIGNS)
def test_first_points_differ_and_a_longer_design_begins_with_a_shorter_one(space, kind):
    points = design.first(space, kind, seed=3, count=36)
    assert sorted(points) == list(range(36))
    assert all(type(point) is int for point in points)
    assert design.first(space, kind, seed=3, count=5) == points[:5]
    assert design.first(space, kind, seed=4, count=5) != points[:5]


def test_sobol_covers_every_axis():
    space = Space({key: [str(value) for value in range(8)] for key in "abc"})
    for seed in range(5):
        rows = np.array([space.indices(point) for point in design.first(space, "sobol", seed, 8)])
        assert all(len(set(column)) == 8 for column in rows.T)


def test_a_failure_counts_as_the_worst_score():
    history = [Observation(0, 0.5), Observation(1, None), Observation(2, 0.2)]
    assert filled_scores(history) == [0.5, 0.2, 0.2]
    assert filled_scores([Observation(0, None)]) == [0.0]


def test_collapsed_runs_do_not_decide_the_scale():
    good = [0.70, 0.72, 0.74, 0.76, 0.78]
    collapsed = warp([*good, 0.0, 0.01])
    assert np.isclose(collapsed.mean(), 0) and np.isclose(collapsed.std(), 1)
    assert collapsed[5] == collapsed[6] == collapsed.min()
    assert collapsed[4] - collapsed[0] > 1.0  # without the cut: 0.25
    assert list(warp([0.3, 0.3])) == [0, 0]
    assert warp([0.5]).tolist() == [0]
