"""Finished cells of the same settings by other code or files: a line says so, and what differs."""

import json
import shutil
import sys
from collections import Counter

import pytest

from lorabench.cells.cell import Cell
from lorabench.cells.run import run
from lorabench.cells.session import Session
from lorabench.files import digest, write_json
from lorabench.records.code import code_of
from lorabench.records.earlier import same_settings
from lorabench.records.legacy import legacy_identity
from lorabench.schema import ModelConfig, TrainerConfig
from lorabench.tasks.base import Task

SMALL = ["train_samples=16", "batch_size=8", "task.test_samples=4", "task.validation_samples=4"]


@pytest.fixture
def finished(cell):
    """A function that trains a cell as the code of versions before did."""

    def make(*overrides):
        with pytest.MonkeyPatch.context() as patch:
            for cls in (ModelConfig, Task):
                patch.setattr(cls, "version", 1)
            code_of.cache_clear()
            made = cell(*SMALL, *overrides)
            run(made)
        code_of.cache_clear()
        return made.folder

    return make


def lines_of(capsys, *cells):
    capsys.readouterr()
    for made in cells:
        assert made.folder.name == made.id
    return capsys.readouterr().err.splitlines()


def test_a_record_of_code_before_is_named_with_what_differs(finished, cell, capsys):
    folder = finished()
    again = cell(*SMALL)
    what = "lorabench.tasks.base.Task 1, now 2; model.version 1, now 2"
    line = f"{folder} has the same settings, but not the same code or files ({what}): {again} is trained anew, in {again.id}"
    assert lines_of(capsys, again, cell(*SMALL), cell(*SMALL, "trainer.micro_batch_tokens=512")) == [line]
    run(again)
    assert lines_of(capsys, cell(*SMALL)) == []


def test_other_settings_are_not_named(finished, cell, capsys):
    finished()
    others = ["lr=1e-3", "seed=1", "variant=pissa", "variant.alpha=4", "model.dtype=bfloat16", "task.test_samples=5"]
    others += ["train_fraction=0.5", "subset=first", "trainer.max_length=64"]
    assert lines_of(capsys, *(cell(*SMALL, other) for other in others)) == []


def test_before_versions_of_models_and_dropout_were_told(finished, cell, capsys):
    folder = finished("variant.dropout=0.1")
    record = json.loads((folder / "record.json").read_text())
    del record["identity"]["model"]["version"], record["identity"]["trainer"]["dropout_version"], record["config"]["data_seed"]
    (folder / "record.json").write_text(json.dumps(record))
    [line] = lines_of(capsys, cell(*SMALL, "variant.dropout=0.1"))
    assert "(lorabench.tasks.base.Task 1, now 2; model.version 1, now 2; trainer.dropout_version is new)" in line


@pytest.mark.parametrize("status", ["failed", "interrupted"])
def test_what_is_not_finished_is_not_named(finished, cell, capsys, status):
    folder = finished()
    record = json.loads((folder / "record.json").read_text())
    (folder / "record.json").write_text("{" if status == "interrupted" else json.dumps(record | {"status": "failed"}))
    assert lines_of(capsys, cell(*SMALL)) == []


def test_files_that_changed_in_their_place_are_named_and_other_ones_are_not(cell, tmp_path, capsys):
    for folder in ("here", "there"):
        (tmp_path / folder).mkdir()
        for split in ("train", "test"):
            rows = [{"question": f"{folder} {split} {i}", "answer": f"a\n#### {i}"} for i in range(20)]
            rows += [{"question": " ", "answer": "#### 1"}] * (split == "train")
            (tmp_path / folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = ["train_samples=8", "batch_size=8", "task=math", "task.sets=[gsm8k]", "task.validation_samples=2"]
    words += ["task.max_new_tokens=4", f"output_dir={tmp_path / 'runs'}"]
    made = cell(*words, f"task.path={tmp_path / 'here'}")
    run(made)
    assert lines_of(capsys, cell(*words, f"task.path={tmp_path / 'there'}")) == []
    with (tmp_path / "here" / "train.jsonl").open("a") as file:
        file.write(json.dumps({"question": "one more", "answer": "#### 1"}) + "\n")
    [line] = lines_of(capsys, Cell(made.config, Session()))
    assert made.record()["data"]["blank_rows"] == 1
    assert line.startswith(f"{made.folder} has") and "(another task.fingerprint)" in line


def test_schema_1_and_2_are_compared_by_the_identities_of_their_own(cell, tmp_path):
    made = cell(*SMALL)
    of_then = legacy_identity(made.config, made.identity, "model of then")
    of_then["task"]["version"] = 0
    record = {"schema_version": 1, "status": "complete", "identity": of_then, "config": made.recorded_config}
    (tmp_path / digest(of_then)).mkdir()
    (tmp_path / digest(of_then) / "record.json").write_text(json.dumps(record))
    of_schema_1 = legacy_identity(made.config, made.identity, "model")
    folder, changes = same_settings(tmp_path, made.config, made.identity, of_schema_1)
    assert folder.name == digest(of_then) and changes[-1] == "another model.fingerprint"
    assert f"model.version 1, now {ModelConfig.version}" in changes and TrainerConfig.version == 1


@pytest.fixture
def lookups():
    """How often records were opened, and folders listed, by path."""
    count, on = Counter(), [True]

    def listen(event, arguments):
        if on and event in ("open", "os.listdir", "os.scandir"):
            count[str(arguments[0])] += 1

    sys.addaudithook(listen)
    yield count
    on.clear()


def test_each_record_is_read_once_a_process(cell, tmp_path, lookups):
    """However many cells ask; one that is removed is not named."""
    made = cell(*SMALL)
    of_schema_1 = legacy_identity(made.config, made.identity, "model")
    before = made.identity | {"model": made.identity["model"] | {"version": 0}}

    def write(name, seed):
        steps = {"steps": [{"identity": 1}] * 3}
        record = {
            "schema_version": 2,
            "status": "complete",
            "identity": before | {"seed": seed},
            "config": made.recorded_config,
        }
        write_json(tmp_path / name / "record.json", record | steps)

    def ask():
        return [same_settings(tmp_path, made.config, made.identity | {"seed": seed}, of_schema_1) for seed in range(50)]

    for seed in range(300):
        write(f"{seed:016x}", seed)
    (tmp_path / "ffff").mkdir()
    lookups.clear()
    assert [matching[0].name for matching in ask()] == [f"{seed:016x}" for seed in range(50)]
    opened = {file: times for file, times in lookups.items() if file.endswith("record.json")}
    assert len(opened) == 300 and set(opened.values()) == {1}
    assert lookups[str(tmp_path)] == 50
    write("later", 7)
    shutil.rmtree(tmp_path / f"{8:016x}")
    matching = ask()
    assert matching[7][0] == tmp_path / "later" and matching[8] is None and matching[9][0].name == f"{9:016x}"
    assert sum(times for file, times in lookups.items() if file.endswith("record.json")) == 301


def test_an_output_folder_that_is_new_has_none(cell, tmp_path, lookups):
    made = cell(*SMALL)
    assert same_settings(tmp_path / "new", made.config, made.identity, made.identity) is None
    assert not [file for file in lookups if file.endswith("record.json")]
