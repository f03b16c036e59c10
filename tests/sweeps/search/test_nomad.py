"""NOMAD, asked again and again, on a small space."""

import pytest

pytest.importorskip("PyNomad", reason="pip install 'lorabench[search]' brings PyNomad")

from sweeps.errors import SweepError
from sweeps.search import nomad
from sweeps.search.base import Observation
from sweeps.search.nomad import Nomad
from sweeps.space import Space

SPACE = Space(
    {
        "rank": [str(2**i) for i in range(6)],
        "lr": ["1e-5", "3e-5", "1e-4", "3e-4", "1e-3", "3e-3"],
        "dropout": ["0", "0.1", "0.2"],
        "variant": ["lora", "pissa"],
    }
)


def score(candidate):
    """Best at rank 8, lr 3e-4, no dropout, pissa."""
    rank, lr, dropout, variant = SPACE.indices(candidate)
    return 1 - 0.02 * (rank - 3) ** 2 - 0.05 * (lr - 3) ** 2 - 0.05 * dropout - 0.1 * (1 - variant)


def play(search, count, history=()):
    history = list(history)
    while len(history) < count:
        candidate = search.ask(history)
        history.append(Observation(candidate, score(candidate)))
    return history


def test_the_order_of_axis_values_does_not_matter():
    """Listed ascending or not, numbers are ordered by what they are."""
    lrs = ["1e-4", "1e-3", "1e-2", "1e-1"]
    ascending, descending = Space({"lr": lrs, "rank": ["4", "8"]}), Space({"lr": lrs[::-1], "rank": ["8", "4"]})
    last = len(ascending) - 1
    history = [Observation(i, float(i == 3)) for i in (0, 3, 5)]
    flipped = [Observation(last - candidate, score) for candidate, score in history]
    assert last - Nomad(descending, 0).ask(flipped) == Nomad(ascending, 0).ask(history)


def test_nomad_goes_on_with_one_run_however_its_best_improves():
    """Every run is over what is known, from the same start and seed: the first points decide both."""
    search, starts = Nomad(SPACE, 1, initial=2), []
    run = search._run
    search._run = lambda scores, start, number: starts.append((start, number)) or run(scores, start, number)
    points = [SPACE.candidate((5, 5, 2, 0)), SPACE.candidate((0, 0, 2, 0))]
    history = play(search, 9, [Observation(i, score(i)) for i in points])
    assert starts == [(points[0], 0)] * 7
    assert max(observation.score for observation in history[2:7]) > score(points[0])


def test_nomad_begins_again_where_its_run_has_ended():
    search, indices = Nomad(SPACE, 0, initial=2), []
    answers = [(None, [[0, 0, 0, 0], [2, 1, 0, 0]]), ([3, 3, 0, 1], [])]
    search._run = lambda scores, start, number: indices.append((start, number)) or answers[number]
    seen = [SPACE.candidate(place) for place in ((5, 5, 2, 0), (0, 0, 0, 0), (2, 1, 0, 0), (3, 2, 0, 1))]
    assert search.ask([Observation(i, score(i)) for i in seen]) == SPACE.candidate((3, 3, 0, 1))
    assert indices == [(seen[0], 0), (seen[2], 1)]  # the best of the first two, then of what was met; the last was not


def test_a_crash_of_nomad_is_told(monkeypatch):
    history = [Observation(3, 0.5)]
    monkeypatch.setattr(nomad.sys, "executable", "/bin/false")
    with pytest.raises(SweepError, match=r"NOMAD crashed after 1 evaluations \(exit code 1\): it said nothing"):
        nomad.Nomad(SPACE, 0).ask(history)


def test_nomad_takes_an_axis_of_one_value():
    space = Space({"alpha_mult": ["2"], "rank": ["1", "2", "4"]})
    assert Nomad(space, 0).ask([Observation(1, 0.5)]) in (0, 2)


@pytest.mark.parametrize(("initial", "seed"), [(1, 3), (5, 0)])
def test_a_crash_where_most_is_known_ends_a_run_alone(initial, seed):
    """NOMAD 4.6 ends in a segmentation fault there."""
    space, history = Space({"rank": ["1", "2", "4"], "lr": ["1e-4", "1e-3", "1e-2"]}), []
    while len(history) < len(space):
        candidate = Nomad(space, seed, initial).ask(history)
        history.append(Observation(candidate, (7 * candidate % 5) * 0.1 if seed else 0.1 * len(history)))
    assert {observation.candidate for observation in history} == set(range(len(space)))
