"""Embeddings of candidates' texts by the embedded model, against the model itself on each text alone."""

import numpy as np
import pytest
import torch

from sweeps.language import packs
from sweeps.language.encoder import Encoder
from sweeps.language.prompts import Prompts, Text
from sweeps.space import Space

SPACE = Space(
    {"rank": ["1", "4", "16"], "alpha_mult": ["0.5", "2"], "lr": ["1e-4", "0.0010", "5e-3"], "batch_size": ["8", "16"]},
    {"variant.alpha": "rank * alpha_mult"},
    ["alpha_mult"],
)


@pytest.fixture
def encoder(loaded, tmp_path):
    """An encoder over ``SPACE`` with packs so short that several are needed."""
    return Encoder(Prompts(SPACE, Text.read("lora")), *loaded[:4], tmp_path)


@pytest.fixture
def short_packs(monkeypatch):
    monkeypatch.setattr(packs, "PACK", 60)


@pytest.mark.usefixtures("short_packs")
@pytest.mark.parametrize("with_token", [False, True])
def test_packed_embeddings_are_those_of_the_plain_texts(encoder, loaded, with_token):
    model, tokenizer, *_ = loaded
    candidates = [0, 1, 2, 7, 8, 20, 35]
    token = torch.randn(encoder.width, generator=torch.Generator().manual_seed(0)) if with_token else None
    embeddings = encoder.embed(candidates, token)
    assert len(list(packs.packs(encoder._texts(candidates), encoder._tokens))) > 1
    for candidate, embedding in zip(candidates, embeddings, strict=True):
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
    generator = torch.Generator().manual_seed(0)
    candidates, tail = [3, 30, 12], encoder.with_token([3, 30, 12])
    directions, step = torch.randn(2, encoder.width, generator=generator), torch.randn(encoder.width, generator=generator)
    slopes = tail.slopes(encoder.start, directions)
    assert slopes.shape == (3, 2, encoder.width)
    ends = [encoder.embed(candidates, encoder.start + size * step) @ directions.T for size in (2e-3, -2e-3)]
    torch.testing.assert_close(slopes @ step, (ends[0] - ends[1]) / 4e-3, rtol=2e-2, atol=2e-2)


def test_the_table_is_kept_by_model_and_text(encoder, loaded, tmp_path, monkeypatch):
    first = encoder.table(token=False)
    np.testing.assert_allclose(first, encoder.embed(range(len(SPACE)), None), rtol=1e-4, atol=1e-5)
    monkeypatch.setattr(Encoder, "_run", lambda *_: pytest.fail("computed again"))
    np.testing.assert_array_equal(Encoder(encoder.prompts, *loaded[:4], tmp_path).table(token=False), first)
    assert [file.suffix for file in tmp_path.iterdir()] == [".npy"]
    for changed in (
        Encoder(encoder.prompts, *loaded[:2], "another model", loaded[3], tmp_path),
        Encoder(Prompts(SPACE, Text.read("lora"), domain=False), *loaded[:4], tmp_path),
    ):
        with pytest.raises(pytest.fail.Exception):
            changed.table(token=False)
    monkeypatch.undo()
    monkeypatch.setattr(Encoder, "forward", lambda *_: pytest.fail("computed again"))
    with_token = encoder.table(token=True)
    monkeypatch.undo()
    np.testing.assert_allclose(with_token, encoder.embed(range(len(SPACE)), encoder.start), rtol=1e-4, atol=1e-5)
    assert np.abs(with_token - first).max() > 0.1
