"""Scoring is apart from generation: it can be repeated, and a scorer that stops loses nothing."""

import contextlib
import json

import pytest

from lorabench import run
from lorabench.errors import UserError
from lorabench.evaluate import read_completions, write_completions
from lorabench.evaluate.__main__ import rescore
from lorabench.tasks.arithmetic import Arithmetic

SMALL = ["train_samples=16", "batch_size=8", "task.test_samples=6", "task.validation_samples=4"]


def record_of(cell):
    return json.loads((cell.folder / "record.json").read_text())


def refuse(*_):
    raise UserError("the judge is down")


def forbid(*_):
    raise AssertionError("a cell with completions must not be trained again")


@pytest.fixture
def stopped(cell, monkeypatch):
    """A cell whose scorer stopped after generation."""
    found = cell(*SMALL)
    base = run._baseline
    monkeypatch.setattr(run, "_baseline", lambda *args: {"validation": 0.0, "test": 0.0})
    with monkeypatch.context() as patch:
        patch.setattr(Arithmetic, "score_all", refuse)
        with pytest.raises(UserError, match="the judge is down"):
            run.run(found)
    assert not (found.folder / "record.json").exists()
    assert len(read_completions(found.folder / "completions.jsonl.gz")) == 10
    monkeypatch.setattr(run, "_baseline", base)
    return found


def test_a_cell_whose_scorer_stopped_is_only_scored_when_run_again(stopped, cell, tmp_path, monkeypatch):
    monkeypatch.setattr(run, "_work", forbid)
    value = run.run(stopped)
    record = record_of(stopped)
    assert record["status"] == "complete"
    assert record["validation_metric"]["value"] == value
    assert len(record["training"]["loss"]) == 2
    assert not (stopped.folder / "pending.json").exists()


def test_rescoring_finishes_a_stopped_cell_too(stopped, monkeypatch):
    monkeypatch.setattr(run, "_work", forbid)
    assert "unscored ->" in rescore(stopped.folder)
    assert record_of(stopped)["status"] == "complete"
    assert not (stopped.folder / "pending.json").exists()


def test_the_base_is_not_generated_again_when_its_scorer_stopped(cell, monkeypatch):
    found = cell(*SMALL)
    with monkeypatch.context() as patch:
        patch.setattr(Arithmetic, "score_all", refuse)
        with pytest.raises(UserError):
            run.run(found)
    generated = []
    answer = run.answer
    monkeypatch.setattr(run, "answer", lambda *args: generated.append(1) or answer(*args))
    run.run(found)
    assert len(generated) == 1  # the cell's own


def test_an_evaluation_that_fails_does_not_cost_the_training(cell, monkeypatch):
    found = cell(*SMALL)
    monkeypatch.setattr(run, "_baseline", lambda *args: {"validation": 0.0, "test": 0.0})
    with monkeypatch.context() as patch:
        patch.setattr(run, "answer", refuse)
        with pytest.raises(UserError):
            run.run(found)
    steps = []

    @contextlib.contextmanager
    def count(*_):
        yield lambda done, total: steps.append(done.steps)

    monkeypatch.setattr(run.PROGRESS, "cell", count)
    run.run(found)
    assert steps == []
    assert len(record_of(found)["training"]["loss"]) == 2
    assert not (found.folder / "checkpoint.pt").exists()


def test_rescoring_follows_the_completions(cell):
    found = cell(*SMALL)
    run.run(found)
    first = record_of(found)
    assert "test" in rescore(found.folder)
    again = record_of(found)
    assert again["metrics"] == first["metrics"]
    assert again["rescored"]["versions"] == first["versions"]
    file = found.folder / "completions.jsonl.gz"
    rows = read_completions(file)
    for row in rows:
        row["completion"] = f" The answer is {row['gold']}"
    write_completions(file, rows)
    rescore(found.folder)
    assert record_of(found)["metrics"]["test"]["mean"] == 1
    assert {row["score"] for row in read_completions(file)} == {1.0}


def test_what_cannot_be_rescored_says_so(cell, tmp_path):
    with pytest.raises(UserError, match=r"holds no cell"):
        rescore(tmp_path / "nothing")
    found = cell(*SMALL)
    run.run(found)
    (found.folder / "completions.jsonl.gz").write_bytes(b"torn")
    with pytest.raises(UserError, match="missing or damaged"):
        rescore(found.folder)
