"""Scoring is apart from generation: it can be repeated, and a scorer that stops loses nothing."""

import contextlib
import json

import pytest

from lorabench import records, run
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
        with pytest.raises(UserError, match=f"the judge is down; .* rescore {found.folder}` scores"):
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
    assert record["rescored"]["versions"] == record["versions"]
    assert not (stopped.folder / "pending.json").exists()


def test_a_cell_that_goes_on_records_the_settings_of_its_present_scorer(stopped, cell):
    run.run(cell(*SMALL, "task.typical_tokens=7", "device=cpu"))
    config = record_of(stopped)["config"]
    assert config["task"]["typical_tokens"] == 7
    assert config["device"] == stopped.config["device"]  # of the training, which was before


def test_rescoring_finishes_a_stopped_cell_too(stopped, monkeypatch):
    monkeypatch.setattr(run, "_work", forbid)
    assert "unscored ->" in rescore(stopped.folder)
    assert record_of(stopped)["status"] == "complete"
    assert not (stopped.folder / "pending.json").exists()


def test_the_base_is_not_generated_again_when_its_scorer_stopped(cell, monkeypatch):
    found = cell(*SMALL)
    with monkeypatch.context() as patch:
        patch.setattr(Arithmetic, "score_all", refuse)
        with pytest.raises(UserError, match=r"the judge is down$"):  # there is no cell yet that could be scored alone
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


def half(self, examples, completions):
    return [{"score": 0.5, "note": "new"} for _ in examples]


def test_the_untouched_base_is_rescored_too_once_for_all_its_cells(cell, monkeypatch):
    cells = [cell(*SMALL), cell(*SMALL, "seed=1")]
    for each in cells:
        run.run(each)
    [file] = (cells[0].folder.parent / "base").glob("*.json")
    record, before = record_of(cells[0]), json.loads(file.read_text())
    assert records.digest(record["identity"]) == cells[0].id  # what names the base's file survives JSON
    assert before["versions"] == record["versions"]
    calls, bases = [], {}
    monkeypatch.setattr(Arithmetic, "score_all", lambda *args: calls.append(1) or half(*args))
    for each in cells:
        rescore(each.folder, bases)
        assert record_of(each)["base"] == {"validation": 0.5, "test": 0.5}
    assert len(calls) == 6  # two splits of two cells and of one base
    after = json.loads(file.read_text())
    assert after["metrics"]["test"]["mean"] == 0.5 and "rescored" in after
    assert {row["note"] for row in read_completions(file.with_suffix(".completions.jsonl.gz"))} == {"new"}
    monkeypatch.undo()
    rescore(cells[0].folder)
    assert record_of(cells[0])["base"] == record["base"]
    assert not any("note" in row for row in read_completions(cells[0].folder / "completions.jsonl.gz"))


def test_a_base_without_completions_keeps_its_scores(cell, capsys):
    found = cell(*SMALL)
    run.run(found)
    [file] = (found.folder.parent / "base").glob("*.completions.jsonl.gz")
    file.unlink()
    before = record_of(found)["base"]
    rescore(found.folder)
    assert record_of(found)["base"] == before
    assert "the scores of the untouched base stay as they were" in capsys.readouterr().err


def test_scores_by_another_version_of_the_task_are_noted_and_recorded(cell, capsys):
    found = cell(*SMALL, "task.version=0")
    run.run(found)
    capsys.readouterr()
    rescore(found.folder)
    assert "was made by version 0 of task=arithmetic, which is at 1 now" in capsys.readouterr().err
    record = record_of(found)
    assert (record["config"]["task"]["version"], record["rescored"]["task_version"]) == (0, 1)


def test_a_problem_without_completion_is_named(cell):
    found = cell(*SMALL)
    run.run(found)
    file = found.folder / "completions.jsonl.gz"
    rows = read_completions(file)
    write_completions(file, [row for row in rows if row["id"] != "test/3"])
    with pytest.raises(UserError, match=r"lack 1 of the 6 test problems of task=arithmetic, such as test/3; delete them"):
        rescore(found.folder)


def test_what_cannot_be_rescored_says_so(cell, tmp_path):
    with pytest.raises(UserError, match=r"holds no cell"):
        rescore(tmp_path / "nothing")
    found = cell(*SMALL)
    run.run(found)
    (found.folder / "completions.jsonl.gz").write_bytes(b"torn")
    with pytest.raises(UserError, match="missing or damaged"):
        rescore(found.folder)
