"""Scoring is apart from generation: it can be repeated, and a scorer that stops loses nothing."""

import json

import pytest

from lorabench.cells import run, untouched
from lorabench.cells.answers import read_completions, write_completions
from lorabench.cells.rescore import Rescoring
from lorabench.errors import UserError
from lorabench.evaluate import main
from lorabench.files import digest
from lorabench.provenance import scored_now
from lorabench.tasks.arithmetic import Arithmetic

SMALL = ["train_samples=16", "batch_size=8", "task.test_samples=6", "task.validation_samples=4"]
ZEROS = {"validation": 0.0, "test": 0.0}


def record_of(cell):
    return json.loads((cell.folder / "record.json").read_text())


def rescore(cell):
    return Rescoring(cell.session).rescore(cell.folder)


def refuse(*given, **named):
    raise UserError("the judge is down")


def forbid(*_):
    raise AssertionError("a cell with completions must not be trained again")


@pytest.fixture
def stopped(cell, monkeypatch):
    """A cell whose scorer stopped after generation."""
    made = cell(*SMALL)
    with monkeypatch.context() as patch:
        patch.setattr(run, "untouched_scores", lambda *args: ZEROS)
        patch.setattr(Arithmetic, "score_all", refuse)
        with pytest.raises(UserError, match=f"the judge is down; .* rescore {made.folder}` scores"):
            run.run(made)
    assert not (made.folder / "record.json").exists()
    assert len(read_completions(made.folder / "completions.jsonl.gz")) == 10
    return made


def test_a_cell_whose_scorer_stopped_is_only_scored_when_run_again(stopped, monkeypatch):
    monkeypatch.setattr(run, "train_cell", forbid)
    value = run.run(stopped)
    record = record_of(stopped)
    assert record["status"] == "complete"
    assert record["validation_metric"]["value"] == value
    assert len(record["training"]["loss"]) == 2
    assert "rescored" not in record  # by the same code
    assert not (stopped.folder / "pending.json").exists()


def test_where_other_code_scores_the_record_says_so(stopped, monkeypatch):
    now = scored_now()
    monkeypatch.setattr(run, "scored_now", lambda: now | {"versions": now["versions"] | {"evalplus": "9"}})
    run.run(stopped)
    record = record_of(stopped)
    assert record["rescored"]["versions"]["evalplus"] == "9" != record["versions"].get("evalplus")


def test_a_cell_that_goes_on_records_the_settings_of_its_present_scorer(stopped, cell):
    run.run(cell(*SMALL, "task.typical_tokens=7", "device=cpu"))
    config = record_of(stopped)["config"]
    assert config["task"]["typical_tokens"] == 7
    assert config["device"] == stopped.config["device"]  # of the training, which was before


def test_rescoring_finishes_a_stopped_cell_too(stopped, monkeypatch):
    monkeypatch.setattr(run, "train_cell", forbid)
    assert "unscored ->" in rescore(stopped)
    assert record_of(stopped)["status"] == "complete"
    assert not (stopped.folder / "pending.json").exists()


def test_the_base_is_not_generated_again_when_its_scorer_stopped(cell, monkeypatch):
    made = cell(*SMALL)
    with monkeypatch.context() as patch:
        patch.setattr(Arithmetic, "score_all", refuse)
        with pytest.raises(UserError, match=r"the judge is down$"):  # there is no cell yet that could be scored alone
            run.run(made)
    generated = []
    generate = type(made.generator).generate
    monkeypatch.setattr(type(made.generator), "generate", lambda *args: generated.append(1) or generate(*args))
    run.run(made)
    assert len(generated) == 1  # the cell's own


def test_an_evaluation_that_fails_does_not_cost_the_training(cell, monkeypatch, following_steps):
    made = cell(*SMALL)
    with monkeypatch.context() as patch:
        patch.setattr(run, "untouched_scores", lambda *args: ZEROS)
        patch.setattr(run, "answer_cell", refuse)
        with pytest.raises(UserError):
            run.run(made)
    steps = []
    with following_steps(lambda training: steps.append(training.steps)):
        run.run(made)
    assert steps == []
    assert len(record_of(made)["training"]["loss"]) == 2
    assert not (made.folder / "checkpoint.pt").exists()


def test_rescoring_follows_the_completions(cell):
    made = cell(*SMALL)
    run.run(made)
    first = record_of(made)
    assert "test" in rescore(made)
    again = record_of(made)
    assert again["metrics"] == first["metrics"]
    assert again["rescored"]["versions"] == first["versions"]
    file = made.folder / "completions.jsonl.gz"
    rows = read_completions(file)
    for row in rows:
        row["completion"] = f" The answer is {row['gold']}"
    write_completions(file, rows)
    rescore(made)
    assert record_of(made)["metrics"]["test"]["mean"] == 1
    assert {row["score"] for row in read_completions(file)} == {1.0}


def test_the_command_says_what_changed_and_a_mistake_in_one_line(cell, tmp_path, capsys):
    made = cell(*SMALL)
    run.run(made)
    main(["rescore", str(made.folder)])
    printed = capsys.readouterr()
    assert printed.out.startswith(f"{made.folder}: test ")
    with pytest.raises(SystemExit) as end:
        main(["rescore", str(tmp_path / "nothing")])
    assert end.value.code == 2
    assert capsys.readouterr().err.startswith(f"lorabench: {tmp_path / 'nothing'} holds no cell; give the folder of a cell")


def half(self, examples, completions):
    return [{"score": 0.5, "note": "new"} for _ in examples]


def test_the_untouched_base_is_rescored_too_once_for_all_its_cells(cell, monkeypatch):
    cells = [cell(*SMALL), cell(*SMALL, "seed=1")]
    for made in cells:
        run.run(made)
    [file] = (cells[0].folder.parent / "base").glob("*.json")
    record, before = record_of(cells[0]), json.loads(file.read_text())
    assert digest(record["identity"]) == cells[0].id  # what names the base's file survives JSON
    assert untouched.untouched_file(file.parents[1], record["identity"]) == file
    assert before["versions"] == record["versions"]
    calls, rescoring = [], Rescoring(cells[0].session)
    monkeypatch.setattr(Arithmetic, "score_all", lambda *args: calls.append(1) or half(*args))
    for made in cells:
        rescoring.rescore(made.folder)
        assert record_of(made)["base"] == {"validation": 0.5, "test": 0.5}
    assert len(calls) == 6  # two splits of two cells and of one base
    after = json.loads(file.read_text())
    assert after["metrics"]["test"]["mean"] == 0.5 and "rescored" in after
    assert {row["note"] for row in read_completions(file.with_suffix(".completions.jsonl.gz"))} == {"new"}
    monkeypatch.undo()
    rescore(cells[0])
    assert record_of(cells[0])["base"] == record["base"]
    assert not any("note" in row for row in read_completions(cells[0].folder / "completions.jsonl.gz"))


def test_a_base_without_completions_keeps_its_scores(cell, capsys):
    made = cell(*SMALL)
    run.run(made)
    [file] = (made.folder.parent / "base").glob("*.completions.jsonl.gz")
    file.unlink()
    before = record_of(made)["base"]
    rescore(made)
    assert record_of(made)["base"] == before
    assert "the scores of the untouched base stay as they were" in capsys.readouterr().err


def test_scores_by_another_version_of_the_task_are_noted_and_recorded(cell, capsys, monkeypatch):
    made = cell(*SMALL)
    run.run(made)
    name = "lorabench.tasks.arithmetic.Arithmetic"
    record = record_of(made)
    assert record["identity"]["task"]["code"][name] == 1
    record["identity"]["task"]["code"][name] = 0
    record["id"] = digest(record["identity"])
    (made.folder / "record.json").write_text(json.dumps(record))
    capsys.readouterr()
    rescore(made)
    assert "was made by version 0 of task=arithmetic, which is at 1 now" in capsys.readouterr().err
    again = json.loads((made.folder / "record.json").read_text())
    assert again["rescored"]["task_version"] == 1
    assert again["identity"]["task"]["code"][name] == 0  # what answered, not what scored


def test_a_problem_without_completion_is_named(cell):
    made = cell(*SMALL)
    run.run(made)
    file = made.folder / "completions.jsonl.gz"
    rows = read_completions(file)
    write_completions(file, [row for row in rows if row["id"] != "test/3"])
    with pytest.raises(UserError, match=r"lack 1 of the 6 test problems of task=arithmetic, such as test/3; delete them"):
        rescore(made)


def test_what_cannot_be_rescored_says_so(cell, tmp_path):
    with pytest.raises(UserError, match=r"holds no cell"):
        Rescoring(cell().session).rescore(tmp_path / "nothing")
    made = cell(*SMALL)
    run.run(made)
    (made.folder / "completions.jsonl.gz").write_bytes(b"torn")
    with pytest.raises(UserError, match="missing or damaged"):
        rescore(made)
