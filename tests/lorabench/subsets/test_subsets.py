"""Proxies: what they are trained on, what they are scored on, and that a full cell is not changed by any of it."""

import json
import shutil
import subprocess
import sys

import pytest
import torch
from omegaconf import OmegaConf

from lorabench import models, promoted, run, seed
from lorabench.cell import Cell
from lorabench.data import Corpus
from lorabench.errors import UserError
from lorabench.records import identity
from lorabench.subsets.random import Random
from lorabench.subsets.tsds import TSDS, embeddings, masses

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
    chosen = torch.randperm(len(corpus), generator=torch.Generator().manual_seed(5)).tolist()
    return [kind.part(f, base, corpus, chosen, validation, seed.generator(number, "part")) for f in fractions]


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
    [other] = parts(TSDS("tsds", 20, 0.3), tiny, texts, (0.25,), number=1)
    assert other != part
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
    seen = []
    monkeypatch.setattr(run, "train", lambda *args, **kw: seen.append(args[3]) or _train(*args, **kw))
    _train = sys.modules["lorabench.train"].train
    proxy = cell(*SMALL, "train_fraction=0.25")
    score = run.run(proxy)
    record = proxy.record()
    assert list(record["metrics"]) == ["validation"] and record["validation_metric"]["value"] == score
    assert sum(len(batch) for batch in seen[0]) == 16 and record["training"]["steps"] == 2
    whole = cell(*SMALL)
    run.run(whole)
    assert set(whole.record()["metrics"]) == {"validation", "test"}
    of_proxy, of_whole = ({index for batch in batches for index in batch} for batches in seen)
    assert of_proxy < of_whole and len(of_whole) == 64


def test_full_cells_keep_the_ids_of_records_before_there_were_proxies(cell):
    full, proxy = cell(), cell("train_fraction=0.5")
    old = {key: value for key, value in full.config.items() if key not in ("train_fraction", "subset")}
    assert identity(old, "m", "d") == identity(full.config, "m", "d") == identity(cell("subset=tsds").config, "m", "d")
    ids = {proxy.id, full.id, cell("train_fraction=0.5", "subset=tsds").id, cell("train_fraction=0.25").id}
    assert len(ids) == 4


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("train_fraction=0", r"train_fraction=0.0 must lie in \(0, 1\]"),
        ("train_fraction=1.5", r"train_fraction=1.5 must lie in \(0, 1\]"),
        ("+subset.neighbours=0", "subset.neighbours=0"),
    ],
)
def test_bad_input_is_one_line(cell, override, line):
    overrides = [override, "subset=tsds"] if "subset" in override else [override]
    with pytest.raises(UserError, match=line):
        cell(*[text.removeprefix("+") for text in overrides]).check()


def test_promotion_prints_the_test_scores_of_the_best(tmp_path):
    command = [sys.executable, "-m", "lorabench", f"output_dir={tmp_path}", *SMALL, "train_fraction=0.25", "lr=2e-3,2e-2", "-m"]
    done = subprocess.run([*command, "hydra.sweeper.promote=1"], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    records = [json.loads(file.read_text()) for file in tmp_path.glob("*/record.json")]
    [full] = [record for record in records if "test" in record["metrics"]]
    proxies = [record for record in records if "test" not in record["metrics"]]
    best = max(proxies, key=lambda r: r["metrics"]["validation"]["mean"])
    line = next(line for line in done.stderr.splitlines() if line.startswith("*"))
    scores = [f"{100 * r['metrics'][s]['mean']:.2f}" for r, s in ((best, "validation"), (full, "validation"), (full, "test"))]
    assert line.split()[1:4] == scores and line.split()[-1] == full["id"]


def test_the_best_is_marked_by_the_mean_over_its_seeds(cell, monkeypatch):
    scores = {(2e-3, 0): 0.5, (2e-3, 1): 0.6, (6e-3, 0): 0.9, (6e-3, 1): 0.1, (2e-2, 0): None}

    def record(self):
        score = scores[self.config["lr"], self.config["seed"]]
        return None if score is None else {"metrics": {"validation": {"mean": score}, "test": {"mean": score}}}

    monkeypatch.setattr(Cell, "record", record)
    cells = [cell(f"lr={lr}", f"seed={seed}") for lr, seed in scores]
    lines = promoted.table(cells, [0.1] * 5).splitlines()[2:]
    assert [line[0] for line in lines] == ["*", "*", " ", " ", " "]
    assert lines[-1].split()[:3] == ["10.00", "-", "-"]


def test_what_decides_a_score_is_all_but_the_knobs(cell):
    def settings(*overrides):
        return promoted.settings(OmegaConf.create(cell(*overrides).config))

    knobs = ["output_dir=elsewhere", "device=cpu", "plan=true", "when_busy=defer", "save_adapter=true"]
    assert settings(*knobs, "trainer.micro_batch_tokens=7", "hessian.tol=0.5") == settings()
    for other in ("lr=1", "model.weights=random", "task.test_samples=3", "trainer.max_length=9", "variant=pissa", "seed=1"):
        assert settings(other) != settings()


def test_weights_and_data_decide_a_score_wherever_they_lie(cell, tmp_path):
    def settings(*overrides):
        return promoted.settings(OmegaConf.create(cell(*overrides).config))

    copy = tmp_path / "copy"
    shutil.copytree(models.locate(cell().model), copy)
    assert settings(f"model.path={copy}") == settings()
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    assert settings(f"model.path={copy}") != settings()
    prints = []
    for number in (1, 1, 2):
        folder = tmp_path / f"data{len(prints)}"
        folder.mkdir()
        for split in ("train", "test"):
            (folder / f"{split}.jsonl").write_text(json.dumps({"question": "q", "answer": f"a\n#### {number}"}) + "\n")
        prints.append(settings("task=math", "task.sets=[gsm8k]", f"task.path={folder}")["task"])
    assert prints[0] == prints[1] != prints[2]
