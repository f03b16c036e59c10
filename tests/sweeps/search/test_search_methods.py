"""What every method promises, on a small space with a known best candidate. The methods are those of ``conf/hydra/sweeper``."""

import importlib.util
import inspect
import json
import subprocess

import numpy as np
import pytest
import torch
import yaml
from hydra.utils import instantiate

from sweeps.bench import catalog
from sweeps.errors import SweepError
from sweeps.search import design
from sweeps.search.base import Observation
from sweeps.space import Space
from sweeps.sweepers import settings

SPACE = Space(
    {
        "rank": [str(2**i) for i in range(6)],
        "lr": ["1e-5", "3e-5", "1e-4", "3e-4", "1e-3", "3e-3"],
        "dropout": ["0", "0.1", "0.2"],
        "variant": ["lora", "pissa"],
    }
)
STAND_IN = {
    "language_bo": ["method.token=false", "method.language=false"],
    "language_bo_paper": ["method.encoder.model=tiny", "method.domain=false", "method.token=false"],
}
"""For what a method would download; with encoder and token they are in test_language_bo.py and test_language_bo_paper.py."""


def score(candidate):
    """Best at rank 8, lr 3e-4, no dropout, pissa."""
    rank, lr, dropout, variant = SPACE.indices(candidate)
    return 1 - 0.02 * (rank - 3) ** 2 - 0.05 * (lr - 3) ** 2 - 0.05 * dropout - 0.1 * (1 - variant)


def maker(name):
    """Makes the method of a yaml from a space and a seed, as a sweep does; skips where a package of an extra is missing."""
    make = instantiate(catalog.method_config(name, STAND_IN.get(name, []))["method"])
    for module in make.func.needs:
        pytest.importorskip(module, reason=f"pip install 'lorabench[search]' brings {module}")
    return make


@pytest.fixture(params=catalog.methods())
def method(request):
    return maker(request.param)


def play(search, count, history=()):
    history = list(history)
    while len(history) < count:
        candidate = search.ask(history)
        assert isinstance(candidate, int)
        history.append(Observation(candidate, score(candidate)))
    return history


def test_the_methods_are_the_yamls_that_name_one():
    assert {"random", "tpe", "gp", "latent_gp", "language_bo", "language_bo_paper", "nomad"} <= set(catalog.methods())


@pytest.mark.parametrize("name", catalog.methods())
def test_its_yaml_is_over_what_all_share_and_gives_settings_that_it_has(name):
    content = yaml.safe_load((catalog.SWEEPERS / f"{name}.yaml").read_text())
    assert content["defaults"] == ["search"] and content["name"] == name
    assert set(content) - {"initial", "design"} == {"defaults", "name", "method"}
    settings.method(maker(name), name, skip=2)


def test_it_states_its_version_in_its_own_body(method):
    """What git does not know yet is being worked on, and told by its source."""
    cls = method.func
    known = subprocess.run(["git", "ls-files", "--error-unmatch", inspect.getfile(cls)], cwd=catalog.ROOT, capture_output=True)
    assert isinstance(vars(cls).get("version"), int) or known.returncode


def test_no_candidate_is_asked_twice_and_all_are_found_in_the_end(method):
    space = Space({"rank": ["1", "2", "4"], "lr": ["1e-4", "1e-3"]})
    history = []
    search = method(space, seed=0)
    while len(history) < len(space):
        history.append(Observation(search.ask(history), 0.1 * len(history)))
    assert sorted(observation.candidate for observation in history) == list(range(len(space)))


def test_an_interrupted_search_goes_on_to_the_same_questions(method):
    points = [Observation(i, score(i)) for i in design.first(SPACE, "sobol", 1, 4)]
    whole = play(method(SPACE, seed=1), 8, points)
    resumed = play(method(SPACE, seed=1), 8, whole[:6])
    assert resumed == whole


def test_failures_are_an_answer(method):
    history = [Observation(i, None if i % 2 else score(i)) for i in design.first(SPACE, "sobol", 2, 6)]
    tried = {observation.candidate for observation in history}
    assert method(SPACE, seed=2).ask(history) not in tried
    assert method(SPACE, seed=2).ask([Observation(candidate, None) for candidate in tried]) not in tried


WITHOUT_A_MODEL = {"random", "language_bo_paper"}
"""The second's stand-in embeddings tell little of a candidate, and it has nothing else; results/search.md has it with SmolLM2."""


@pytest.mark.parametrize("name", [name for name in catalog.methods() if name not in WITHOUT_A_MODEL])
def test_a_model_beats_chance(name):
    make = maker(name)
    ranks, order = [], np.sort([score(i) for i in range(len(SPACE))])[::-1]
    for seed in range(3):
        points = [Observation(i, score(i)) for i in design.first(SPACE, "sobol", seed, 5)]
        top = max(observation.score for observation in play(make(SPACE, seed), 20, points))
        ranks.append(int((order > top + 1e-9).sum()))
    assert np.median(ranks) <= 3, ranks  # of 216; 20 random candidates reach the ninth place half the time


def test_what_is_missing_is_told_before_the_first_question(method, monkeypatch):
    search = method(SPACE, 0)
    search.check()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    if not search.needs:
        search.check()
        return
    with pytest.raises(SweepError, match=f"{search.needs[0]}: pip install 'lorabench"):
        search.check()


def test_its_fingerprint_can_be_written_and_read(method):
    fingerprint = method(SPACE, 0).fingerprint()
    assert json.loads(json.dumps(fingerprint)) == fingerprint == method(SPACE, 1).fingerprint()


def test_a_question_leaves_the_random_numbers_of_others_alone(method):
    before, numpys = torch.random.get_rng_state(), np.random.get_state()[1].copy()
    method(SPACE, 1).ask([Observation(i, score(i)) for i in design.first(SPACE, "sobol", 1, 4)])
    assert torch.equal(torch.random.get_rng_state(), before)
    np.testing.assert_array_equal(np.random.get_state()[1], numpys)
