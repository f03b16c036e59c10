"""Texts, embeddings and the language-guided search, on the embedded model."""

from functools import partial

import numpy as np
import pytest

from sweeps.search import prompts
from sweeps.search.prompts import Prompts, Text, written
from sweeps.space import Space, SpaceError

SPACE = Space(
    {"rank": ["1", "4", "16"], "alpha_mult": ["0.5", "2"], "lr": ["1e-4", "0.0010", "5e-3"], "batch_size": ["8", "16"]},
    {"variant.alpha": "rank * alpha_mult"},
    ["alpha_mult"],
)


@pytest.fixture(scope="module")
def loaded():
    """The embedded model as an encoder's parts, loaded once."""
    from lorabench.encoder import load

    return load("tiny")


@pytest.fixture
def encoder(loaded, tmp_path):
    """An encoder over ``SPACE`` with packs so short that several are needed."""
    from sweeps.search.encoder import Encoder

    model, tokenizer, fingerprint, _ = loaded
    return Encoder(model, tokenizer, Prompts(SPACE, Text.read("lora")), fingerprint, tmp_path)


@pytest.fixture
def short_packs(monkeypatch):
    from sweeps.search import encoder

    monkeypatch.setattr(encoder, "PACK", 60)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1e-4", "1e-4"), ("0.0001", "1e-4"), ("1.0E-04", "1e-4"), ("0.00035", "3.5e-4"), ("16.0", "16"), ("0.05", "0.05"),
        ("0", "0"), ("0.50", "0.5"), ("1e5", "1e5"), ("128", "128"), ("pissa", "pissa"), ("-2e-3", "-2e-3"),
    ],
)  # fmt: skip
def test_numbers_are_written_in_one_way(text, expected):
    assert written(text) == expected


def test_values_are_told_as_a_reader_knows_them():
    lines = Prompts(SPACE, Text.read("lora")).lines(SPACE.candidate((2, 1, 1, 0)))
    assert lines == ["\nrank=16", "\nalpha=32", "\nlr=1e-3", "\nbatch_size=8"]


def test_the_head_explains_the_axes_that_there_are():
    text = Text.read("lora")
    head = Prompts(SPACE, text).head
    for key in ("rank", "variant.alpha", "lr", "batch_size"):
        assert text.axes[key].strip() in head
    assert text.axes["variant.dropout"].strip() not in head
    assert Prompts(SPACE, text, domain=False).head == "The setting:"


def test_a_text_of_ones_own(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("task: Bake a cake.\naxes: {lr: the oven's heat}\nnames: {lr: heat}\n")
    mine = Prompts(SPACE, Text.read(str(file)))
    assert mine.head == "Bake a cake.\nthe oven's heat\nThe setting:" and "\nheat=1e-4" in mine.lines(0)
    file.write_text("role: none\n")
    for wrong in (str(file), "no_such_text"):
        with pytest.raises(SpaceError, match="neither one of lora nor a yaml") as caught:
            Text.read(wrong)
        assert "\n" not in str(caught.value)


def test_every_shipped_text_is_complete():
    for file in prompts.TEXTS.glob("*.yaml"):
        text = Text.read(file.stem)
        assert text.task and text.axes and set(text.names) <= set(text.axes)


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
    ends = [encoder.embed(candidates, token.detach() + step * direction).square().mean() for step in (1e-2, -1e-2)]
    torch.testing.assert_close(gradient @ direction, (ends[0] - ends[1]) / 2e-2, rtol=2e-2, atol=1e-4)


def test_the_table_is_kept_by_model_and_text(encoder, loaded, tmp_path, monkeypatch):
    from sweeps.search.encoder import Encoder

    first = encoder.table(token=False)
    np.testing.assert_allclose(first, encoder.embed(range(len(SPACE)), None), rtol=1e-6)
    monkeypatch.setattr(Encoder, "embed", lambda *_: pytest.fail("computed again"))
    np.testing.assert_array_equal(Encoder(*loaded[:2], encoder.prompts, loaded[2], tmp_path).table(token=False), first)
    for other in (
        Encoder(*loaded[:2], encoder.prompts, "another model", tmp_path),
        Encoder(*loaded[:2], Prompts(SPACE, Text.read("lora"), domain=False), loaded[2], tmp_path),
    ):
        with pytest.raises(pytest.fail.Exception):
            other.table(token=False)
    with pytest.raises(pytest.fail.Exception):
        encoder.table(token=True)


@pytest.mark.parametrize(
    "switches",
    [{}, {"token": False}, {"token": False, "projection": False}, {"domain": False}],
    ids=lambda s: ",".join(s) or "all",
)
def test_it_searches_and_an_interrupted_one_goes_on_to_the_same_question(loaded, tmp_path, switches):
    pytest.importorskip("botorch", reason="pip install 'lorabench[search]' brings botorch")
    from sweeps.search import design
    from sweeps.search.base import Observation
    from sweeps.search.language_bo import LanguageBO

    def search():
        return LanguageBO(SPACE, 0, partial(lambda: (*loaded[:3], tmp_path)), fallback=False, **switches)

    history = [Observation(i, -abs(i - 20) / 20) for i in design.first(SPACE, "sobol", 0, 4)]
    running = search()
    for _ in range(2):
        candidate = running.ask(history)
        assert candidate not in {one.candidate for one in history}
        assert search().ask(history) == candidate
        history.append(Observation(candidate, -abs(candidate - 20) / 20))


def test_a_degenerate_fit_is_asked_by_the_numeric_process(loaded, tmp_path, monkeypatch):
    pytest.importorskip("botorch", reason="pip install 'lorabench[search]' brings botorch")
    from sweeps.search import deep
    from sweeps.search.base import Observation
    from sweeps.search.gp import GP
    from sweeps.search.language_bo import LanguageBO

    history = [Observation(i, -abs(i - 20) / 20) for i in (0, 9, 17, 25, 33)]
    search = LanguageBO(SPACE, 0, lambda: (*loaded[:3], tmp_path), token=False)
    for worth, falls in ((1.0, False), (np.nan, True), (-1.0, True)):
        densities = iter((worth, 0.0))  # of the deep process, then of the numeric one
        monkeypatch.setattr(deep, "left_out", lambda _, densities=densities: next(densities))
        candidate = search.ask(history)
        assert search.fell_back == falls
        if falls:
            assert candidate == GP(SPACE, 0).ask(history)


def test_left_out_densities_are_those_of_refitted_processes():
    """Against conditioning on all others, observation by observation."""
    pytest.importorskip("botorch", reason="pip install 'lorabench[search]' brings botorch")
    import torch

    from sweeps.search import deep

    generator = torch.Generator().manual_seed(0)
    points, scores = torch.rand(7, 3, generator=generator).double(), torch.randn(7, generator=generator).double()
    model = deep.process(points, scores).eval()
    expected = []
    for i in range(7):
        others = [j for j in range(7) if j != i]
        model.set_train_data(points[others], scores[others], strict=False)
        with torch.no_grad():
            one = model.likelihood(model(points[i : i + 1]))
        expected.append(torch.distributions.Normal(one.mean, one.stddev).log_prob(scores[i]).item())
    model.set_train_data(points, scores, strict=False)
    assert deep.left_out(model) == pytest.approx(np.mean(expected), rel=1e-4)
