"""The language-guided search, on the embedded model."""

import dataclasses

import numpy as np
import pytest

pytest.importorskip("botorch", reason="pip install 'lorabench[search]' brings botorch")
import torch

from sweeps.errors import SweepError
from sweeps.language.encoder import Encoder
from sweeps.language.prompts import Prompts, Text
from sweeps.processes import batched, deep
from sweeps.search import design
from sweeps.search.base import Observation, filled_scores, warp
from sweeps.search.language_bo import SHORTLIST, LanguageBO
from sweeps.space import Space

SPACE = Space(
    {"rank": ["1", "4", "16"], "alpha_mult": ["0.5", "2"], "lr": ["1e-4", "0.0010", "5e-3"], "batch_size": ["8", "16"]},
    {"variant.alpha": "rank * alpha_mult"},
    ["alpha_mult"],
)


@pytest.fixture
def language_bo(loaded, source):
    """Makes a search over ``SPACE``."""
    return lambda **switches: LanguageBO(SPACE, 0, source(loaded), **switches)


SWITCHES = [
    {},
    {"token": False},
    {"token": False, "projection": False},
    {"domain": False},
    {"relations": False},
    {"fallback": False},
    {"token": False, "language": False},
]


@pytest.mark.parametrize("switches", SWITCHES, ids=lambda s: ",".join(s) or "all")
def test_it_searches_and_an_interrupted_one_goes_on_to_the_same_question(language_bo, switches):
    history = [Observation(i, -abs(i - 20) / 20) for i in design.first(SPACE, "sobol", 0, 4)]
    running = language_bo(**switches)
    for _ in range(2):
        candidate = running.ask(history)
        assert candidate not in {observation.candidate for observation in history}
        assert language_bo(**switches).ask(history) == candidate
        history.append(Observation(candidate, -abs(candidate - 20) / 20))


@pytest.mark.parametrize("scores", [[1.0], [1.0, 1.0], [None, None], [1.0, None]])
@pytest.mark.parametrize("switches", SWITCHES[:3], ids=lambda s: ",".join(s) or "all")
def test_few_or_equal_scores_are_enough(language_bo, scores, switches):
    history = [Observation(7 * i, score) for i, score in enumerate(scores)]
    assert language_bo(**switches).ask(history) not in {observation.candidate for observation in history}


def test_the_models_are_weighted_by_what_they_predict(language_bo, monkeypatch):
    history = [Observation(i, -abs(i - 20) / 20) for i in (0, 9, 17, 25, 33)]
    search, fixed = language_bo(token=False), deep.fixed_member
    for worth, arm in ((50.0, "gp"), (float("nan"), "language"), (-50.0, "language")):

        def numeric(name, *args, worth=worth, **kwargs):
            member = fixed(name, *args, **kwargs)
            return member if name != "gp" else dataclasses.replace(member, density=torch.full_like(member.density, worth))

        monkeypatch.setattr(deep, "fixed_member", numeric)
        search.ask(history)
        assert search.shares[arm] == pytest.approx(1)
    monkeypatch.setattr(deep, "fixed_member", fixed)
    without = language_bo(token=False, fallback=False)
    without.ask(history)
    assert without.shares == {"language": 1, "gp": 0}


@pytest.mark.parametrize("token", [False, True])
def test_the_question_is_the_candidate_of_the_largest_average_improvement(language_bo, token):
    """Recomputed over all candidates from the models, by the closed form of the expected improvement."""
    from scipy.stats import norm

    history = [Observation(i, -abs(i - 20) / 20) for i in (0, 9, 17, 25, 33, 21)]
    search = language_bo(token=token)
    index = search.ask(history)
    scores = torch.from_numpy(warp(filled_scores(history)))
    members, fitted, _ = search._members([observation.candidate for observation in history], scores)
    read, phi = search._embeddings()
    assert (fitted is not None) == token
    moved = phi
    if token:  # levelled with the differences at the token's start, which leave equal values equal there
        encoder = search._encoder
        raw, exact = (read(encoder.embed(range(len(SPACE)), token).numpy()) for token in (encoder.start, fitted))
        moved = phi + torch.from_numpy(exact - raw)
    total = np.zeros(len(SPACE))
    for member, share in zip(members, deep.weights(members).tolist(), strict=True):
        inputs = torch.from_numpy(SPACE.encoded) if member.name == "gp" else phi if member.shift is None else moved
        with torch.no_grad():
            mean, variance = (part[0].numpy() for part in member.fit.predict(member.features(inputs)[None]))
        above, deviation = mean - float(scores.max()), np.sqrt(variance)
        total += share * (above * norm.cdf(above / deviation) + deviation * norm.pdf(above / deviation))
    total[[observation.candidate for observation in history]] = 0
    assert index == total.argmax()
    assert np.sort(total)[-2] < total.max() * (1 - 1e-3)  # one candidate is clearly the best, so the test can fail


def test_equal_values_have_equal_features(language_bo):
    search = language_bo(token=False)
    read, phi = search._embeddings()
    assert set(search._prompts.keys) == set(read.axes)
    for column, key in zip(phi.numpy().T, read.axes, strict=False):
        values, at = np.unique(search._prompts.columns[key], return_inverse=True)
        assert len(values) > 1 and all(np.ptp(column[at == i]) < 1e-9 for i in range(len(values)))


def test_it_finds_a_ridge_sooner_than_chance(language_bo):
    values = [str(2**i) for i in range(12)]
    space = Space({"lr": values, "batch_size": values, "rank": ["4", "8"]})
    place = np.indices([12, 12, 2])
    scores = -np.abs(place[0] - place[1] - 3.0).ravel() - 0.3 * np.abs(place[0] - 7.0).ravel() - 0.1 * place[2].ravel()
    places = []
    for seed in range(3):
        search = LanguageBO(space, seed, None, token=False, language=False)
        history = [Observation(i, float(scores[i])) for i in design.first(space, "sobol", seed, 5)]
        while len(history) < 15:
            candidate = search.ask(history)
            history.append(Observation(candidate, float(scores[candidate])))
        places.append((scores > max(observation.score for observation in history)).sum())
    assert np.median(places) < 4  # of 288 candidates; the best of 15 random ones is the 18th


def test_without_any_model_a_candidate_is_drawn(language_bo, monkeypatch):
    def broken(*_):
        raise torch.linalg.LinAlgError("not positive definite")

    history = [Observation(i, -abs(i - 20) / 20) for i in (0, 9, 17)]
    monkeypatch.setattr(batched, "condition", broken)
    search = language_bo()
    assert search.ask(history) not in {0, 9, 17}
    assert search.shares == {}


def test_the_token_needs_the_projection_and_a_language_model(language_bo):
    for wrong in ({"projection": False}, {"language": False}):
        with pytest.raises(SweepError, match=r"method\.token=false"):
            language_bo(**wrong)


def test_of_a_large_space_the_best_by_the_mean_change_are_judged_exactly(loaded, source, monkeypatch):
    """More candidates than the shortlist, and a token that has moved: what is asked is the best of those judged exactly."""
    noise = np.random.default_rng(0)
    history = [Observation(i, float(noise.standard_normal())) for i in (0, 9, 17, 25, 33, 21, 4, 29)]
    search = LanguageBO(SPACE, 0, source(loaded))
    judged, embedded = [], []
    average, embed = deep.log_average_improvement, Encoder.embed
    monkeypatch.setattr(deep, "log_average_improvement", lambda *args: judged.append((args, average(*args))) or judged[-1][1])
    monkeypatch.setattr(Encoder, "embed", lambda self, some, token: embedded.append((some, token)) or embed(self, some, token))
    index = search.ask(history)
    [((_, _, inputs, _), near), (_, exact)] = judged
    [(short, token)] = embedded
    free = [i for i in range(len(SPACE)) if i not in {observation.candidate for observation in history}]
    assert len(short) == SHORTLIST < len(free) and index == short[int(exact.argmax())]
    assert set(short) == {free[i] for i in near.topk(SHORTLIST).indices.tolist()}
    # The mean change: what the token does to the observations' features on average, for all alike.
    read, phi = search._embeddings()
    tried = [observation.candidate for observation in history]
    ends, starts = (read(embed(search._encoder, tried, state).numpy()) for state in (token, search._encoder.start))
    change = ends - starts
    members, *_ = search._members(tried, _scores(history))
    [moved] = [given for given, member in zip(inputs, members, strict=True) if member.shift is not None]
    np.testing.assert_allclose((moved - phi[free]).numpy(), np.tile(change.mean(0), (len(free), 1)), atol=1e-4)
    assert np.abs(change.mean(0)).max() > 1e-3


def _scores(history):
    return torch.from_numpy(warp(filled_scores(history)))


@pytest.mark.parametrize("deaf", ["position_ids", "attention_mask"])
def test_a_model_that_reads_texts_together_otherwise_than_alone_is_found_before_anything_runs(
    loaded, source, monkeypatch, deaf
):
    model, forward = loaded[0], loaded[0].forward
    LanguageBO(SPACE, 0, source(loaded)).check()
    monkeypatch.setattr(model, "forward", lambda **given: forward(**{k: v for k, v in given.items() if k != deaf}))
    with pytest.raises(SweepError, match=r"reads texts together otherwise than alone: it needs sdpa and position_ids$"):
        LanguageBO(SPACE, 0, source(loaded)).check()


def test_a_text_that_is_too_long_is_found_before_anything_runs(loaded, source, tmp_path):
    room = source(loaded)
    length = len(loaded[1](Prompts(SPACE, Text.read("lora")).head)["input_ids"])
    for limit in (length, length + 5):
        room.parts = (*loaded[:3], limit, tmp_path)
        with pytest.raises(SweepError, match=rf"up to \d+ tokens, the encoder reads {limit}: shorten what is explained$"):
            LanguageBO(SPACE, 0, room).check()
    room.parts = (*loaded[:3], length + 100, tmp_path)
    LanguageBO(SPACE, 0, room).check()


def test_another_text_is_another_search(language_bo, tmp_path):
    file = tmp_path / "mine.yaml"
    prints = []
    for heat in ("hot", "hot", "cold"):
        file.write_text(f"axes: {{lr: {heat}}}\n")
        prints.append(language_bo(text=str(file)).fingerprint())
    assert prints[0] == prints[1] != prints[2]


def test_an_encoder_that_is_not_at_hand_is_found_before_anything_runs(monkeypatch):
    from lorabench import encoder
    from lorabench.encoder import Frozen
    from lorabench.errors import UserError

    LanguageBO(SPACE, 0, Frozen("tiny"), domain=False).check()
    with pytest.raises(SweepError, match=r"the encoder reads 1024"):
        LanguageBO(SPACE, 0, Frozen("tiny")).check()
    monkeypatch.setattr(encoder, "load", lambda *_: pytest.fail("loaded"))
    with pytest.raises(UserError, match="encoder no_such is none of"):
        LanguageBO(SPACE, 0, Frozen("no_such")).check()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UserError, match="cannot get nobody/nothing"):
        LanguageBO(SPACE, 0, Frozen("nobody/nothing@0123")).check()
