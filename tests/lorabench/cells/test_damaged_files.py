"""Files of a cell that are of valid form and wrong content: the cell is really run again, and nothing of them is lost."""

import json
import shutil

import pytest

from lorabench.cells.answers import write_completions
from lorabench.cells.plan import describe
from lorabench.cells.rescore import Rescoring
from lorabench.cells.run import run
from lorabench.cells.untouched import untouched_file
from lorabench.errors import UserError
from lorabench.records.kept import Damaged, read_record
from lorabench.training.sealed import read_sealed, write_sealed

SMALL = ["train_samples=32", "task.test_samples=2", "task.validation_samples=2", "trainer.checkpoint_minutes=0"]
CONTENTS = {
    "an object": b"{}",
    "a list": b"[]",
    "a text": b'"complete"',
    "a number": b"1",
    "no UTF-8": b"\xff\xfe",
    "truncated": b'{"status": "complete", "metrics": {"te',
    "nested too deeply": b"[" * 100000,
    "a folder": None,
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder in which the cell lies finished; `cell` of every test names the same one in a folder of its own."""
    return {"folder": tmp_path_factory.mktemp("trained")}


@pytest.fixture
def made(cell, trained, tmp_path, run_until):
    """A finished cell with all the files that one may have on its way, the same for all tests."""
    made, folder = cell(*SMALL), trained["folder"]
    if not (folder / "cells").exists():
        run_until(made, 2)  # the checkpoint of the first step is there
        checkpoint = (made.folder / "checkpoint.pt").read_bytes()
        run(made)
        record = json.loads((made.folder / "record.json").read_bytes())
        (made.folder / "pending.json").write_text(json.dumps(record | {"status": "failed", "metrics": None}))
        (made.folder / "checkpoint.pt").write_bytes(checkpoint)
        shutil.copytree(tmp_path, folder / "cells")
    shutil.copytree(folder / "cells", tmp_path, dirs_exist_ok=True)
    made.session._noted.clear()
    return made


def files(made):
    """Of one line each when they are damaged, in the order in which they are read."""
    base = untouched_file(made.settings.output_dir, made.identity)
    return [made.folder / "record.json", made.folder / "pending.json", base, base.with_suffix(".completions.jsonl.gz"),
            made.folder / "checkpoint.pt"]  # fmt: skip


def damage(file, content):
    file.unlink()
    if content is None:
        file.mkdir()
        (file / "mine.txt").write_text("kept")
    else:
        file.write_bytes(content)


@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS)
def test_whatever_stands_in_a_files_place_is_set_aside_and_the_cell_begins_anew(made, capsys, content):
    before, damaged = read_record(made.folder), files(made)
    for file in damaged:
        damage(file, content)
    assert "1 cell: 1 to run" in describe([made])  # a plan changes nothing
    assert not list(made.folder.parent.rglob("*.damaged"))
    capsys.readouterr()
    run(made)
    lines = [line for line in capsys.readouterr().err.splitlines() if "set aside" in line]
    assert [line.split()[0].rstrip(":") for line in lines] == [str(file) for file in damaged]
    for file, line in zip(damaged, lines, strict=True):
        aside = file.with_name(f"{file.name}.damaged")
        assert f"set aside as {aside.name}" in line
        assert (aside / "mine.txt").exists() if content is None else aside.read_bytes() == content
    after = read_record(made.folder)
    assert after["metrics"] == before["metrics"] and after["training"]["loss"] == before["training"]["loss"]
    (made.folder / "record.json").write_bytes(b"{}")
    run(made)
    assert (made.folder / ("record.json.damaged" if content is None else "record.json.damaged.2")).exists() or content is None


def changed(record, key, value):
    *groups, last = key.split(".")
    tree = json.loads(json.dumps(record))
    part = tree
    for group in groups:
        part = part[group]
    if value is KeyError:
        del part[last]
    else:
        part[last] = value
    return tree


WRONG = [
    *((key, KeyError) for key in ("metrics", "status", "id", "identity", "config", "training", "validation_metric", "model")),
    *(("status", value) for value in ("finished", None, 1)),
    *(("metrics.test.mean", value) for value in ("0.5", None, 5, True)),
    *((key, "x") for key in ("metrics.test.sets.arithmetic.score", "validation_metric.value", "training.seconds", "config.lr")),
    *((key, []) for key in ("metrics", "training", "identity", "config", "base", "evaluation", "metrics.test.sets")),
    ("schema_version", "2"),
]


@pytest.mark.parametrize(("key", "value"), WRONG)
def test_a_record_of_wrong_content_is_damaged(made, key, value):
    file = made.folder / "record.json"
    file.write_text(json.dumps(changed(json.loads(file.read_bytes()), key, value)))
    with pytest.raises(Damaged, match=f"^{file} is not what a cell leaves \\(.+\\)$") as caught:
        read_record(made.folder)
    assert "\n" not in str(caught.value)
    assert made.record() is None and file.exists()
    with pytest.raises(UserError, match="is not what a cell leaves"):
        Rescoring(made.session).rescore(made.folder)


def test_a_record_of_a_newer_schema_is_never_touched(made):
    for name in ("record.json", "pending.json"):
        file = made.folder / name
        content = json.dumps(json.loads(file.read_bytes()) | {"schema_version": 3, "status": "new"})
        before = file.read_bytes()
        file.write_text(content)
        if name == "pending.json":
            (made.folder / "record.json").unlink()
        with pytest.raises(UserError, match="schema_version 3 is newer than 2, which this version reads: update lorabench"):
            run(made)
        assert file.read_text() == content
        file.write_bytes(before)
    assert not list(made.folder.glob("*.damaged*"))


@pytest.mark.parametrize("rows", [[1], [{"split": "test"}], []], ids=["numbers", "no completion", "none"])
def test_answers_of_wrong_content_are_set_aside(made, rows, capsys):
    """Of the cell, whose pending record is sound, and of the untouched model, whose scores are gone."""
    (made.folder / "record.json").unlink()
    base = files(made)[2]
    base.unlink()
    for file in (made.folder / "completions.jsonl.gz", base.with_suffix(".completions.jsonl.gz")):
        write_completions(file, rows)
    run(made)
    assert capsys.readouterr().err.count("does not hold the answers to the problems of task=arithmetic: set aside as ") == 2
    assert read_record(made.folder)["status"] == "complete"


@pytest.mark.parametrize(
    "change",
    [
        lambda state: {"start": state["start"]},
        lambda state: state | {"optimizer": []},
        lambda state: state | {"progress": {"steps": 1}},
        lambda state: state | {"progress": state["progress"] | {"steps": "1"}},
        lambda state: (
            state | {"progress": state["progress"] | {"steps": 50} | dict.fromkeys(("loss", "grad_norm", "lr"), [1.0] * 50)}
        ),
        lambda state: state | {"progress": state["progress"] | {"steps": -1}},
        lambda state: state | {"progress": state["progress"] | {"loss": []}},
        lambda state: state | {"trained": {name: value[:1] for name, value in state["trained"].items()}},
        lambda state: state | {"rng": "x"},
    ],
    ids=[
        "no keys",
        "optimizer",
        "progress",
        "steps",
        "beyond the end",
        "before the start",
        "no losses",
        "other shapes",
        "generator",
    ],
)
def test_a_checkpoint_of_another_structure_is_set_aside_and_the_cell_begins_anew(made, change, capsys):
    before = read_record(made.folder)
    for name in ("record.json", "pending.json"):
        (made.folder / name).unlink()
    file = made.folder / "checkpoint.pt"
    write_sealed(file, change(read_sealed(file)))
    run(made)
    assert f"{file} is no checkpoint of this cell" in capsys.readouterr().err
    assert (made.folder / "checkpoint.pt.damaged").exists()
    assert read_record(made.folder)["training"]["loss"] == before["training"]["loss"]


def test_a_sound_checkpoint_and_pending_record_are_used(made, capsys):
    """The cell goes on from the one and is scored from the other: the tests above are of damage, and not of any file."""
    (made.folder / "record.json").unlink()
    run(made)
    (made.folder / "record.json").unlink()
    assert "going on" not in capsys.readouterr().err and not list(made.folder.glob("*.damaged"))
