"""What every method promises, on a small space with a known best candidate."""

import importlib
import importlib.util

import numpy as np
import pytest

from sweeps.errors import SweepError
from sweeps.search import design
from sweeps.search.base import Observation
from sweeps.space import Space

SPACE = Space(
    {
        "rank": [str(2**i) for i in range(6)],
        "lr": ["1e-5", "3e-5", "1e-4", "3e-4", "1e-3", "3e-3"],
        "dropout": ["0", "0.1", "0.2"],
        "variant": ["lora", "pissa"],
    }
)
NEEDS = {"tpe": "optuna", "gp": "botorch", "latent_gp": "botorch", "nomad": "PyNomad"}
CLASSES = {"random": "Random", "tpe": "TPE", "gp": "GP", "latent_gp": "LatentGP", "nomad": "Nomad"}


def score(candidate):
    """Best at rank 8, lr 3e-4, no dropout, pissa."""
    rank, lr, dropout, variant = SPACE.indices(candidate)
    return 1 - 0.02 * (rank - 3) ** 2 - 0.05 * (lr - 3) ** 2 - 0.05 * dropout - 0.1 * (1 - variant)


@pytest.fixture(params=CLASSES)
def method(request):
    if request.param in NEEDS:
        pytest.importorskip(NEEDS[request.param], reason=f"pip install 'lorabench[search]' brings {NEEDS[request.param]}")
    return getattr(importlib.import_module(f"sweeps.search.{request.param}"), CLASSES[request.param])


def play(search, count, history=()):
    history = list(history)
    while len(history) < count:
        candidate = search.ask(history)
        assert isinstance(candidate, int)
        history.append(Observation(candidate, score(candidate)))
    return history


def test_no_candidate_is_asked_twice_and_all_are_found_in_the_end(method):
    space = Space({"rank": ["1", "2", "4"], "lr": ["1e-4", "1e-3"]})
    history = []
    search = method(space, seed=0)
    while len(history) < len(space):
        history.append(Observation(search.ask(history), 0.1 * len(history)))
    assert sorted(one.candidate for one in history) == list(range(len(space)))


def test_an_interrupted_search_goes_on_to_the_same_questions(method):
    points = [Observation(i, score(i)) for i in design.first(SPACE, "sobol", 1, 4)]
    whole = play(method(SPACE, seed=1), 8, points)
    resumed = play(method(SPACE, seed=1), 8, whole[:6])
    assert resumed == whole


def test_failures_are_an_answer(method):
    history = [Observation(i, None if i % 2 else score(i)) for i in design.first(SPACE, "sobol", 2, 6)]
    assert method(SPACE, seed=2).ask(history) not in {one.candidate for one in history}
    failed = [Observation(one.candidate, None) for one in history]
    assert method(SPACE, seed=2).ask(failed) not in {one.candidate for one in history}


@pytest.mark.parametrize("name", ["tpe", "gp", "latent_gp", "nomad"])
def test_a_model_beats_chance(name):
    pytest.importorskip(NEEDS[name], reason=f"pip install 'lorabench[search]' brings {NEEDS[name]}")
    found = importlib.import_module(f"sweeps.search.{name}")
    ranks, order = [], np.sort([score(i) for i in range(len(SPACE))])[::-1]
    for seed in range(3):
        points = [Observation(i, score(i)) for i in design.first(SPACE, "sobol", seed, 5)]
        top = max(one.score for one in play(getattr(found, CLASSES[name])(SPACE, seed), 20, points))
        ranks.append(int((order > top + 1e-9).sum()))
    assert np.median(ranks) <= 3, ranks  # of 216; 20 random candidates reach the ninth place half the time


@pytest.mark.parametrize(("name", "module"), [("tpe", "optuna"), ("nomad", "PyNomad")])
def test_the_order_of_axis_values_does_not_matter(name, module):
    """Listed ascending or not, numbers are ordered by what they are."""
    pytest.importorskip(module, reason=f"pip install 'lorabench[search]' brings {module}")
    from sweeps.search.nomad import Nomad
    from sweeps.search.tpe import TPE

    make = {"tpe": TPE, "nomad": Nomad}[name]
    lrs = ["1e-4", "1e-3", "1e-2", "1e-1"]
    one, other = Space({"lr": lrs, "rank": ["4", "8"]}), Space({"lr": lrs[::-1], "rank": ["8", "4"]})
    mirrored = len(one) - 1
    history = [Observation(i, float(i == 3)) for i in (0, 3, 5)]
    flipped = [Observation(mirrored - one.candidate, one.score) for one in history]
    assert mirrored - make(other, 0).ask(flipped) == make(one, 0).ask(history)


def test_what_is_missing_is_told_before_the_first_question(method, monkeypatch):
    method(SPACE, 0).check()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    if not method.needs:
        method(SPACE, 0).check()
        return
    with pytest.raises(SweepError, match=f"{method.needs[0]}: pip install 'lorabench"):
        method(SPACE, 0).check()


def test_nomad_goes_on_with_one_run_however_its_best_improves():
    """Every run is over what is known, from the same start and seed: the first points decide both."""
    pytest.importorskip("PyNomad", reason="pip install 'lorabench[search]' brings PyNomad")
    from sweeps.search.nomad import Nomad

    search, starts = Nomad(SPACE, 1, initial=2), []
    run = search._run
    search._run = lambda scores, start, number: starts.append((start, number)) or run(scores, start, number)
    points = [SPACE.candidate((5, 5, 2, 0)), SPACE.candidate((0, 0, 2, 0))]
    found = play(search, 9, [Observation(i, score(i)) for i in points])
    assert starts == [(points[0], 0)] * 7
    assert max(one.score for one in found[2:7]) > score(points[0])


def test_nomad_begins_again_where_its_run_has_ended():
    pytest.importorskip("PyNomad", reason="pip install 'lorabench[search]' brings PyNomad")
    from sweeps.search.nomad import Nomad

    search, asked = Nomad(SPACE, 0, initial=2), []
    answers = [{"next": None, "seen": [[0, 0, 0, 0], [2, 1, 0, 0]]}, {"next": [3, 3, 0, 1], "seen": []}]
    search._run = lambda scores, start, number: asked.append((start, number)) or answers[number]
    seen = [SPACE.candidate(place) for place in ((5, 5, 2, 0), (0, 0, 0, 0), (2, 1, 0, 0), (3, 2, 0, 1))]
    assert search.ask([Observation(i, score(i)) for i in seen]) == SPACE.candidate((3, 3, 0, 1))
    assert asked == [(seen[0], 0), (seen[2], 1)]  # the best of the first two, then of what was met; the last was not


def test_a_crash_of_nomad_is_told(monkeypatch):
    pytest.importorskip("PyNomad", reason="pip install 'lorabench[search]' brings PyNomad")
    from sweeps.search import nomad

    history = [Observation(3, 0.5)]
    monkeypatch.setattr(nomad.sys, "executable", "/bin/false")
    with pytest.raises(SweepError, match=r"NOMAD crashed after 1 evaluations \(exit code 1\): it said nothing"):
        nomad.Nomad(SPACE, 0).ask(history)


def test_nomad_takes_an_axis_of_one_value():
    pytest.importorskip("PyNomad", reason="pip install 'lorabench[search]' brings PyNomad")
    from sweeps.search.nomad import Nomad

    space = Space({"alpha_mult": ["2"], "rank": ["1", "2", "4"]})
    assert Nomad(space, 0).ask([Observation(1, 0.5)]) in (0, 2)


def test_tpe_asks_its_model_right_behind_the_first_points():
    """A model knows the good end of an axis; chance does not."""
    pytest.importorskip("optuna", reason="pip install 'lorabench[search]' brings optuna")
    from sweeps.search.tpe import TPE

    space = Space({"rank": [str(i) for i in range(100)]})
    history = [Observation(i, float(i)) for i in (5, 25, 45, 65, 96)]
    by_model = [TPE(space, seed, initial=5).ask(history) for seed in range(10)]
    by_chance = [TPE(space, seed, initial=10).ask(history) for seed in range(10)]
    assert np.mean(by_model) > np.mean(by_chance) + 10


def test_a_question_leaves_the_random_numbers_of_others_alone(method):
    torch = pytest.importorskip("torch")
    before = torch.random.get_rng_state()
    method(SPACE, 1).ask([Observation(i, score(i)) for i in design.first(SPACE, "sobol", 1, 4)])
    assert torch.equal(torch.random.get_rng_state(), before)
