"""A validation score by likelihood has its standard error, in the record and when it is scored again; old records have none."""

import json
from pathlib import Path
from typing import ClassVar

import pytest

from analysis.read.record import read_row
from lorabench.cells.cell import Cell
from lorabench.cells.rescore import Rescoring
from lorabench.cells.run import run
from lorabench.contributed import GIVEN
from lorabench.tasks.arithmetic import Arithmetic

SMALL = ["train_samples=16", "batch_size=8", "task.test_samples=4", "task.validation_samples=12", "lr=3e-3"]


class Likely(Arithmetic):
    """Its validation split stands for one that cannot be scored."""

    version: ClassVar[int] = 1
    validation: ClassVar[str] = "likelihood"


@pytest.fixture
def finished(cell):
    made = cell(*SMALL)
    node = made.config["task"] | {"_target_": f"{Likely.__module__}.{Likely.__qualname__}", "name": "likely"}
    made = Cell(made.config | {"task": node}, made.session)
    run(made)
    return made


def test_the_record_has_it_and_so_has_the_untouched_base(finished):
    record = finished.record()
    of_split = record["metrics"]["validation"]["sets"]["likelihood"]
    assert of_split["n"] == 12
    assert of_split["stderr"] == of_split["score"] * record["validation_loss_stderr"] > 0
    [file] = (finished.folder.parent / "base").glob("*[0-9a-f].json")
    assert json.loads(file.read_text())["metrics"]["validation"]["sets"]["likelihood"]["stderr"] > 0
    assert read_row(finished.folder / "record.json")["validation"] == of_split["score"]


def test_it_stays_when_the_answers_are_scored_again_and_is_null_in_old_records(finished, monkeypatch):
    monkeypatch.setenv(GIVEN, str(Path(__file__).parent))  # of a record, this class is built for no other folder
    file = finished.folder / "record.json"
    before = json.loads(file.read_text())
    Rescoring(finished.session).rescore(finished.folder)
    again = json.loads(file.read_text())
    assert again["metrics"] == before["metrics"]
    del again["validation_loss_stderr"]
    file.write_text(json.dumps(again))
    Rescoring(finished.session).rescore(finished.folder)
    old = json.loads(file.read_text())["metrics"]["validation"]
    assert old["sets"]["likelihood"]["stderr"] is None and old["mean"] == before["metrics"]["validation"]["mean"]
    assert read_row(file)["validation"] == old["mean"]


def test_a_task_whose_validation_is_scored_has_none(cell):
    made = cell(*SMALL)
    run(made)
    assert "validation_loss_stderr" not in made.record()
