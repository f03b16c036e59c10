import dataclasses
import gc
import weakref

import pytest
import torch

from lorabench.cells import session as sessions
from lorabench.cells.session import Session
from lorabench.errors import UserError
from lorabench.generation.hf import HFGenerator


def test_batched_generation_equals_one_by_one_in_order(tiny, arithmetic):
    prompts = [arithmetic.prompt(e) for e in arithmetic.test_examples()]
    texts = []
    for tokens in (1, 500, 100_000):  # one prompt a batch, a few, all
        generator = HFGenerator(name="hf", batch_tokens=tokens)
        generator.load(tiny)
        texts.append(generator.generate(prompts, 24))
    assert texts[0] == texts[1] == texts[2]
    by_hand = tiny.model.generate(
        **tiny.tokenizer(prompts[3], return_tensors="pt", return_token_type_ids=False), max_new_tokens=24, do_sample=False
    )
    start = len(tiny.tokenizer(prompts[3])["input_ids"])
    assert texts[0][3] == tiny.tokenizer.decode(by_hand[0, start:], skip_special_tokens=True)


def test_merged_weights_are_served_and_the_base_comes_back(tiny, adapted, lora, arithmetic):
    prompts = [arithmetic.prompt(e) for e in arithmetic.test_examples()]
    merged = lora.merged(adapted)
    with torch.no_grad():
        for p in merged.values():
            p.add_(0.05 * torch.randn(p.shape, generator=torch.Generator().manual_seed(0)))
    lora.detach(adapted)
    generator = HFGenerator(name="hf", batch_tokens=10_000)
    generator.load(tiny)
    base = generator.generate(prompts, 16)
    generator.use(merged)
    changed = generator.generate(prompts, 16)
    generator.use(None)
    assert changed != base
    assert generator.generate(prompts, 16) == base


def test_answers_end_where_the_model_does(tiny, arithmetic, monkeypatch, capsys):
    """As with vLLM, which cannot go on, see test_vllm_generator."""
    prompts = ["Q: 1+1", *sorted((arithmetic.prompt(e) for e in arithmetic.test_examples()), key=len)[-3:]]
    lengths = [len(ids) for ids in tiny.tokenizer(prompts)["input_ids"]]
    generator = HFGenerator(name="hf", batch_tokens=10_000)
    generator.load(tiny)
    free = generator.generate(prompts, 20)
    assert not capsys.readouterr().err
    limit = max(lengths) + 2
    monkeypatch.setattr(tiny.model.config, "max_position_embeddings", limit)
    for _ in range(2):
        cut = generator.generate(prompts, 20)
    for before, after, length in zip(free, cut, lengths, strict=True):
        kept = tiny.tokenizer(before)["input_ids"][: limit - length]
        assert after == tiny.tokenizer.decode(kept, skip_special_tokens=True)
    assert cut[0] == free[0]
    assert cut[-1] != free[-1]
    assert capsys.readouterr().err.count(f"the model takes {limit} tokens") == 1
    monkeypatch.setattr(tiny.model.config, "max_position_embeddings", max(lengths))
    with pytest.raises(UserError, match=f"a prompt of {max(lengths)} tokens leaves no room for an answer"):
        generator.generate(prompts, 20)


def test_another_model_is_loaded_when_nothing_holds_the_first(cell, monkeypatch):
    session = Session()
    first, second = (dataclasses.replace(cell(*overrides), session=session) for overrides in ([], ["model.dtype=bfloat16"]))
    gc.disable()  # when it would run by itself is luck
    try:
        base = first.base()
        first.generator.load(base)
        model, held, load = weakref.ref(base.model), [], sessions.load
        cycle = [base.model]  # such as the first load in a process leaves
        cycle.append(cycle)
        del base, cycle
        monkeypatch.setattr(sessions, "load", lambda *arguments: held.append(model()) or load(*arguments))
        assert second.base().model.dtype == torch.bfloat16
        assert second.generator is first.generator
    finally:
        gc.enable()
    assert held == [None]
