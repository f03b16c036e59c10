"""Embeddings and the language-guided search, on the embedded model."""

import numpy as np
import pytest

from sweeps.errors import SweepError
from sweeps.search.prompts import Prompts, Text
from sweeps.space import Space

SPACE = Space(
    {"rank": ["1", "4", "16"], "alpha_mult": ["0.5", "2"], "lr": ["1e-4", "0.0010", "5e-3"], "batch_size": ["8", "16"]},
    {"variant.alpha": "rank * alpha_mult"},
    ["alpha_mult"],
)


@pytest.fixture(scope="module")
def loaded():
    """The embedded model as an encoder's parts, loaded once; its positions are rotary, and reach beyond the 1,024 it states."""
    from lorabench.encoder import Frozen

    model, tokenizer, fingerprint, limit, folder = Frozen("tiny")()
    assert limit == 1024
    return model, tokenizer, fingerprint, 2048, folder


@pytest.fixture
def encoder(loaded, tmp_path):
    """An encoder over ``SPACE`` with packs so short that several are needed."""
    from sweeps.search.encoder import Encoder

    return Encoder(Prompts(SPACE, Text.read("lora")), *loaded[:4], tmp_path)


@pytest.fixture
def short_packs(monkeypatch):
    from sweeps.search import encoder

    monkeypatch.setattr(encoder, "PACK", 60)


@pytest.mark.usefixtures("short_packs")
@pytest.mark.parametrize("with_token", [False, True])
def test_packed_embeddings_are_those_of_the_plain_texts(encoder, loaded, with_token):
    import torch

    model, tokenizer, *_ = loaded
    candidates = [0, 1, 2, 7, 8, 20, 35]
    token = torch.randn(encoder.width, generator=torch.Generator().manual_seed(0)) if with_token else None
    found = encoder.embed(candidates, token)
    assert len(list(encoder._packs(candidates))) > 1
    for candidate, embedding in zip(candidates, found, strict=True):
        ids = tokenizer(encoder.prompts.head)["input_ids"]
        for line in encoder.prompts.lines(candidate):
            ids = ids + tokenizer(line, add_special_tokens=False)["input_ids"]
        inputs = model.get_input_embeddings()(torch.tensor([ids]))
        if token is not None:
            inputs = torch.cat([inputs, token[None, None]], dim=1)
        with torch.no_grad():
            plain = model(inputs_embeds=inputs).last_hidden_state[0, -1]
        torch.testing.assert_close(embedding, plain, rtol=1e-4, atol=1e-4)


@pytest.mark.usefixtures("short_packs")
def test_the_token_behind_kept_texts_gives_the_same_states_and_its_gradient(encoder):
    import torch

    candidates = [3, 30, 12]
    token = encoder.start.clone().double().float().requires_grad_(True)
    tail = encoder.with_token(candidates)
    for _ in range(2):  # nothing that one call leaves may change the next
        torch.testing.assert_close(tail.states(token).detach(), encoder.embed(candidates, token.detach()), rtol=1e-4, atol=1e-4)
    direction = torch.randn(encoder.width, generator=torch.Generator().manual_seed(1))
    (gradient,) = torch.autograd.grad(tail.states(token).square().mean(), token)
    ends = [encoder.embed(candidates, token.detach() + step * direction).square().mean() for step in (2e-3, -2e-3)]
    torch.testing.assert_close(gradient @ direction, (ends[0] - ends[1]) / 4e-3, rtol=2e-2, atol=1e-3)


def test_slopes_of_the_embeddings_are_those_of_small_changes(encoder):
    import torch

    generator = torch.Generator().manual_seed(0)
    candidates, tail = [3, 30, 12], encoder.with_token([3, 30, 12])
    directions, step = torch.randn(2, encoder.width, generator=generator), torch.randn(encoder.width, generator=generator)
    slopes = tail.slopes(encoder.start, directions)
    assert slopes.shape == (3, 2, encoder.width)
    ends = [encoder.embed(candidates, encoder.start + size * step) @ directions.T for size in (2e-3, -2e-3)]
    torch.testing.assert_close(slopes @ step, (ends[0] - ends[1]) / 4e-3, rtol=2e-2, atol=2e-2)


def test_the_table_is_kept_by_model_and_text(encoder, loaded, tmp_path, monkeypatch):
    from sweeps.search.encoder import Encoder

    first = encoder.table(token=False)
    np.testing.assert_allclose(first, encoder.embed(range(len(SPACE)), None), rtol=1e-4, atol=1e-5)
    monkeypatch.setattr(Encoder, "_run", lambda *_: pytest.fail("computed again"))
    np.testing.assert_array_equal(Encoder(encoder.prompts, *loaded[:4], tmp_path).table(token=False), first)
    assert [file.suffix for file in tmp_path.iterdir()] == [".npy"]
    for other in (
        Encoder(encoder.prompts, *loaded[:2], "another model", loaded[3], tmp_path),
        Encoder(Prompts(SPACE, Text.read("lora"), domain=False), *loaded[:4], tmp_path),
    ):
        with pytest.raises(pytest.fail.Exception):
            other.table(token=False)
    monkeypatch.undo()
    monkeypatch.setattr(Encoder, "forward", lambda *_: pytest.fail("computed again"))
    with_token = encoder.table(token=True)
    monkeypatch.undo()
    np.testing.assert_allclose(with_token, encoder.embed(range(len(SPACE)), encoder.start), rtol=1e-4, atol=1e-5)
    assert np.abs(with_token - first).max() > 0.1


class Source:
    """An encoder that is loaded already."""

    causal = True

    def __init__(self, loaded, folder):
        self.parts = (*loaded[:4], folder)

    def __call__(self):
        return self.parts


@pytest.fixture
def language_bo(loaded, tmp_path):
    """Makes a search over ``SPACE``."""
    pytest.importorskip("botorch", reason="pip install 'lorabench[search]' brings botorch")
    from sweeps.search.language_bo import LanguageBO

    return lambda **switches: LanguageBO(SPACE, 0, Source(loaded, tmp_path), **switches)


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
    from sweeps.search import design
    from sweeps.search.base import Observation

    history = [Observation(i, -abs(i - 20) / 20) for i in design.first(SPACE, "sobol", 0, 4)]
    running = language_bo(**switches)
    for _ in range(2):
        candidate = running.ask(history)
        assert candidate not in {one.candidate for one in history}
        assert language_bo(**switches).ask(history) == candidate
        history.append(Observation(candidate, -abs(candidate - 20) / 20))


@pytest.mark.parametrize("scores", [[1.0], [1.0, 1.0], [None, None], [1.0, None]])
@pytest.mark.parametrize("switches", SWITCHES[:3], ids=lambda s: ",".join(s) or "all")
def test_few_or_equal_scores_are_enough(language_bo, scores, switches):
    from sweeps.search.base import Observation

    history = [Observation(7 * i, score) for i, score in enumerate(scores)]
    assert language_bo(**switches).ask(history) not in {one.candidate for one in history}


def test_the_models_are_weighted_by_what_they_predict(language_bo, monkeypatch):
    import dataclasses

    import torch

    from sweeps.search import deep
    from sweeps.search.base import Observation

    history = [Observation(i, -abs(i - 20) / 20) for i in (0, 9, 17, 25, 33)]
    search, fixed = language_bo(token=False), deep.fixed
    for worth, arm in ((50.0, "gp"), (float("nan"), "language"), (-50.0, "language")):

        def numeric(name, *args, worth=worth, **kwargs):
            found = fixed(name, *args, **kwargs)
            return found if name != "gp" else dataclasses.replace(found, density=torch.full_like(found.density, worth))

        monkeypatch.setattr(deep, "fixed", numeric)
        search.ask(history)
        assert search.shares[arm] == pytest.approx(1)
    monkeypatch.setattr(deep, "fixed", fixed)
    without = language_bo(token=False, fallback=False)
    without.ask(history)
    assert without.shares == {"language": 1, "gp": 0}


@pytest.mark.parametrize("token", [False, True])
def test_the_question_is_the_candidate_of_the_largest_average_improvement(language_bo, token):
    """Recomputed over all candidates from the models, by the closed form of the expected improvement."""
    import torch
    from scipy.stats import norm

    from sweeps.search import deep
    from sweeps.search.base import Observation, filled, warped

    history = [Observation(i, -abs(i - 20) / 20) for i in (0, 9, 17, 25, 33, 21)]
    search = language_bo(token=token)
    asked = search.ask(history)
    scores = torch.from_numpy(warped(filled(history)))
    members, fitted, _ = search._members([one.candidate for one in history], scores)
    read, phi = search._embeddings()
    assert (fitted is not None) == token
    moved = phi
    if token:  # levelled with the differences at the token's start, which leave equal values equal there
        encoder = search._encoder
        raw, exact = (read(encoder.embed(range(len(SPACE)), each).numpy()) for each in (encoder.start, fitted))
        moved = phi + torch.from_numpy(exact - raw)
    total = np.zeros(len(SPACE))
    for one, share in zip(members, deep.weights(members).tolist(), strict=True):
        inputs = torch.from_numpy(SPACE.encoded) if one.name == "gp" else phi if one.shift is None else moved
        with torch.no_grad():
            mean, variance = (part[0].numpy() for part in one.fit.predict(one.features(inputs)[None]))
        above, deviation = mean - float(scores.max()), np.sqrt(variance)
        total += share * (above * norm.cdf(above / deviation) + deviation * norm.pdf(above / deviation))
    total[[one.candidate for one in history]] = 0
    assert asked == total.argmax()
    assert np.sort(total)[-2] < total.max() * (1 - 1e-3)  # one candidate is clearly the best, so the test can fail


def test_equal_values_have_equal_features(language_bo):
    search = language_bo(token=False)
    read, phi = search._embeddings()
    assert set(search._prompts.keys) == set(read.axes)
    for column, key in zip(phi.numpy().T, read.axes, strict=False):
        values, at = np.unique(search._prompts.told[key], return_inverse=True)
        assert len(values) > 1 and all(np.ptp(column[at == i]) < 1e-9 for i in range(len(values)))


def test_it_finds_a_ridge_sooner_than_chance(language_bo):
    from sweeps.search import design
    from sweeps.search.base import Observation
    from sweeps.search.language_bo import LanguageBO

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
        places.append((scores > max(one.score for one in history)).sum())
    assert np.median(places) < 4  # of 288 candidates; the best of 15 random ones is the 18th


def test_without_any_model_a_candidate_is_drawn(language_bo, monkeypatch):
    from sweeps.search import process
    from sweeps.search.base import Observation

    def broken(*_):
        import torch

        raise torch.linalg.LinAlgError("not positive definite")

    history = [Observation(i, -abs(i - 20) / 20) for i in (0, 9, 17)]
    monkeypatch.setattr(process, "conditioned", broken)
    search = language_bo()
    assert search.ask(history) not in {0, 9, 17}
    assert search.shares == {}


def test_the_token_needs_the_projection_and_a_language_model(language_bo):
    for wrong in ({"projection": False}, {"language": False}):
        with pytest.raises(SweepError, match=r"method\.token=false"):
            language_bo(**wrong)


def test_of_a_large_space_the_best_by_the_mean_change_are_judged_exactly(loaded, tmp_path, monkeypatch):
    """More candidates than the shortlist, and a token that has moved: what is asked is the best of those judged exactly."""
    pytest.importorskip("botorch", reason="pip install 'lorabench[search]' brings botorch")
    from sweeps.search import deep
    from sweeps.search.base import Observation
    from sweeps.search.encoder import Encoder
    from sweeps.search.language_bo import SHORTLIST, LanguageBO

    noise = np.random.default_rng(0)
    history = [Observation(i, float(noise.standard_normal())) for i in (0, 9, 17, 25, 33, 21, 4, 29)]
    search = LanguageBO(SPACE, 0, Source(loaded, tmp_path))
    judged, embedded = [], []
    average, embed = deep.log_average_improvement, Encoder.embed
    monkeypatch.setattr(deep, "log_average_improvement", lambda *args: judged.append((args, average(*args))) or judged[-1][1])
    monkeypatch.setattr(Encoder, "embed", lambda self, some, token: embedded.append((some, token)) or embed(self, some, token))
    asked = search.ask(history)
    [((_, _, inputs, _), near), (_, exact)] = judged
    [(short, token)] = embedded
    free = [i for i in range(len(SPACE)) if i not in {one.candidate for one in history}]
    assert len(short) == SHORTLIST < len(free) and asked == short[int(exact.argmax())]
    assert set(short) == {free[i] for i in near.topk(SHORTLIST).indices.tolist()}
    # The mean change: what the token does to the observations' features on average, for all alike.
    read, phi = search._embeddings()
    tried = [one.candidate for one in history]
    ends, starts = (read(embed(search._encoder, tried, each).numpy()) for each in (token, search._encoder.start))
    change = ends - starts
    members, *_ = search._members(tried, _scores(history))
    [moved] = [each for each, one in zip(inputs, members, strict=True) if one.shift is not None]
    np.testing.assert_allclose((moved - phi[free]).numpy(), np.tile(change.mean(0), (len(free), 1)), atol=1e-4)
    assert np.abs(change.mean(0)).max() > 1e-3


def _scores(history):
    import torch

    from sweeps.search.base import filled, warped

    return torch.from_numpy(warped(filled(history)))


@pytest.mark.parametrize("deaf", ["position_ids", "attention_mask"])
def test_a_model_that_reads_texts_together_otherwise_than_alone_is_found_before_anything_runs(
    loaded, tmp_path, monkeypatch, deaf
):
    pytest.importorskip("botorch", reason="pip install 'lorabench[search]' brings botorch")
    from sweeps.search.language_bo import LanguageBO

    model, forward = loaded[0], loaded[0].forward
    LanguageBO(SPACE, 0, Source(loaded, tmp_path)).check()
    monkeypatch.setattr(model, "forward", lambda **given: forward(**{k: v for k, v in given.items() if k != deaf}))
    with pytest.raises(SweepError, match=r"reads texts together otherwise than alone: it needs sdpa and position_ids$"):
        LanguageBO(SPACE, 0, Source(loaded, tmp_path)).check()


def test_a_text_that_is_too_long_is_found_before_anything_runs(loaded, tmp_path):
    pytest.importorskip("botorch", reason="pip install 'lorabench[search]' brings botorch")
    from sweeps.search.language_bo import LanguageBO

    room = Source(loaded, tmp_path)
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
    pytest.importorskip("botorch", reason="pip install 'lorabench[search]' brings botorch")
    from lorabench import models
    from lorabench.encoder import Frozen
    from lorabench.errors import UserError
    from sweeps.search.language_bo import LanguageBO

    LanguageBO(SPACE, 0, Frozen("tiny"), domain=False).check()
    with pytest.raises(SweepError, match=r"the encoder reads 1024"):
        LanguageBO(SPACE, 0, Frozen("tiny")).check()
    monkeypatch.setattr(models, "read", lambda *_: pytest.fail("loaded"))
    with pytest.raises(UserError, match="encoder no_such is none of"):
        LanguageBO(SPACE, 0, Frozen("no_such")).check()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UserError, match="cannot get nobody/nothing"):
        LanguageBO(SPACE, 0, Frozen("nobody/nothing@0123")).check()
