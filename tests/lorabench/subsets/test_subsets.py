"""Proxies: what they are trained on, what they are scored on, and that a full cell is not changed by any of it."""

import pytest
import torch

from lorabench.cells import stages
from lorabench.cells.checks import check
from lorabench.cells.run import run
from lorabench.errors import UserError
from lorabench.subsets.random import Random
from lorabench.subsets.tsds import TSDS, embeddings, masses
from lorabench.training import seed
from lorabench.training.data import Corpus

SMALL = ["train_samples=64", "batch_size=8", "task.test_samples=4", "task.validation_samples=8"]


@pytest.fixture
def texts(tiny, arithmetic):
    """Training texts, every second one a problem of the task and the others prose; and validation problems."""
    pairs = [(arithmetic.prompt(e), arithmetic.target(e)) for e in arithmetic.train_examples()[:60]]
    prose = [(f"The {word} of the harbour, number {i}, lay", " quiet in the rain.") for i, word in enumerate(["end"] * 60)]
    mixed = [text for both in zip(pairs, prose, strict=True) for text in both]
    problems = [(arithmetic.prompt(e), arithmetic.target(e)) for e in arithmetic.validation_examples()]
    return Corpus(mixed, tiny.tokenizer, 512), Corpus(problems, tiny.tokenizer, 512)


def parts(kind, base, texts, fractions, number=0):
    corpus, validation = texts
    order = torch.randperm(len(corpus), generator=torch.Generator().manual_seed(5)).tolist()
    return [kind.part(f, base, corpus, order, validation, seed.generator(number, "part")) for f in fractions]


@pytest.mark.parametrize("kind", [Random("random"), TSDS("tsds", 20, 0.3)], ids=lambda kind: kind.name)
def test_smaller_fractions_are_parts_of_larger_ones(kind, tiny, texts, monkeypatch, tmp_path):
    monkeypatch.setenv("LORABENCH_CACHE", str(tmp_path))
    small, large, whole = parts(kind, tiny, texts, (0.1, 0.5, 1))
    assert (len(small), len(large), sorted(whole)) == (12, 60, list(range(120)))
    assert large[:12] == small
    assert parts(kind, tiny, texts, (0.1,)) == [small]


def test_tsds_takes_texts_like_the_validation_problems(tiny, texts, monkeypatch, tmp_path):
    monkeypatch.setenv("LORABENCH_CACHE", str(tmp_path))
    [part] = parts(TSDS("tsds", 20, 0.3), tiny, texts, (0.25,))
    assert all(index % 2 == 0 for index in part)
    [of_another_seed] = parts(TSDS("tsds", 20, 0.3), tiny, texts, (0.25,), number=1)
    assert of_another_seed != part
    [random] = parts(Random("random"), tiny, texts, (0.25,))
    assert any(index % 2 for index in random)


def test_masses_by_hand():
    """Two copies of the nearest sample share the mass that one would have; what is far from all has none."""
    samples = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [-2.0, -1.0]])  # centred already
    targets = torch.tensor([[3.0, 0.1]])
    assert masses(samples, targets, 3, 0.3).tolist() == pytest.approx([0.25, 0.25, 0.5, 0])
    assert masses(samples[:3] - samples[:3].mean(0), targets - samples[:3].mean(0), 2, 0.3).tolist() == [0.5, 0.5, 0]
    both = masses(samples, torch.tensor([[3.0, 0.1], [-2.0, -1.0]]), 1, 0.3)
    assert sorted(both.tolist()) == pytest.approx([0, 0, 0.5, 0.5])


def test_embeddings_ignore_padding_and_are_kept(tiny, texts, monkeypatch, tmp_path):
    monkeypatch.setenv("LORABENCH_CACHE", str(tmp_path))
    corpus, _ = texts
    together, alone = embeddings(tiny, corpus, [0, 1, 2, 3]), embeddings(tiny, corpus, [1])
    torch.testing.assert_close(together[1], alone[0], rtol=1e-4, atol=1e-5)
    ids = torch.tensor([corpus.encode([1])[0].ids])
    with torch.no_grad():
        torch.testing.assert_close(alone[0], tiny.model.get_decoder()(ids).last_hidden_state[0].mean(0), rtol=1e-4, atol=1e-5)
    monkeypatch.setattr(tiny.model, "forward", None)
    monkeypatch.setattr(type(tiny.model), "get_decoder", None)
    assert torch.equal(embeddings(tiny, corpus, [0, 1, 2, 3]), together)


def test_a_proxy_is_scored_on_validation_alone(cell, monkeypatch):
    schedules, train = [], stages.train
    monkeypatch.setattr(stages, "train", lambda *args, **kw: schedules.append(args[3]) or train(*args, **kw))
    proxy = cell(*SMALL, "train_fraction=0.25")
    score = run(proxy)
    record = proxy.record()
    assert list(record["metrics"]) == ["validation"] and record["validation_metric"]["value"] == score
    assert sum(len(batch) for batch in schedules[0]) == 16 and record["training"]["steps"] == 2
    whole = cell(*SMALL)
    run(whole)
    assert set(whole.record()["metrics"]) == {"validation", "test"}
    of_proxy, of_whole = ({index for batch in batches for index in batch} for batches in schedules)
    assert of_proxy < of_whole and len(of_whole) == 64


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("train_fraction=0", r"train_fraction=0.0 must lie in \(0, 1\]"),
        ("train_fraction=1.5", r"train_fraction=1.5 must lie in \(0, 1\]"),
        ("subset.neighbours=0", "subset.neighbours=0"),
    ],
)
def test_bad_input_is_one_line(cell, override, line):
    with pytest.raises(UserError, match=line):
        check(cell("subset=tsds", override))
