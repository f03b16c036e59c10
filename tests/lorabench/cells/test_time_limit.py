"""A cell that takes too long is ended, whatever it is at, and has failed; the cells behind it go on."""

import os
from pathlib import Path

import pytest

from lorabench.cells.limited import parent
from lorabench.cells.run import run
from lorabench.cells.session import Session
from lorabench.errors import Failed, UserError
from lorabench.files import read_json
from lorabench.sandbox import kernel
from lorabench.training.sealed import read_sealed

ROOT = Path(__file__).resolve().parents[3]
WORDS = ["train_samples=16", "task.validation_samples=4", "task.test_samples=4", "task.max_new_tokens=8"]
BACKWARD = """
import hashlib, os, time
import lorabench.training.loop as loop
true = loop.backward
def backward(model, examples, settings, *rest):
    if settings.warmup_ratio == 0.5:
        hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)  # in C, where no signal is handled
    if settings.warmup_ratio == 0.25:
        time.sleep(1.5)
    if settings.warmup_ratio == 0.75:
        os.kill(os.getpid(), 9)
    return true(model, examples, settings, *rest)
loop.backward = backward
"""
"""What stands for a cell that hangs, is slow, or is killed, in the process of cells."""


@pytest.fixture
def limited(cell, tmp_path, monkeypatch):
    """A function from overrides to a cell; all have one process of cells, which ends with the test."""
    (tmp_path / "sitecustomize.py").write_text(BACKWARD)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{ROOT}")
    session = Session()
    yield lambda *overrides: type(made := cell(*WORDS, *overrides))(made.config, session)
    session.kept("process of cells", parent.CellProcess).close()
    assert not [pid for pid in kernel.descendants(os.getpid()) if "limited.child" in Path(f"/proc/{pid}/cmdline").read_text()]


def test_the_others_go_on(limited, cell, capfd, monkeypatch):
    hangs, slow = limited("trainer.warmup_ratio=0.5", "cell_timeout=2"), limited("trainer.warmup_ratio=0.25", "cell_timeout=1s")
    with monkeypatch.context() as patch:
        patch.setattr(parent, "GRACE", 0.5)
        with pytest.raises(Failed, match=r"^took longer than cell_timeout=2$"):
            run(hangs)
    record = read_json(hangs.folder / "record.json")
    assert (record["status"], record["error"], record["metrics"]) == ("failed", "took longer than cell_timeout=2", None)
    assert sorted(file.name for file in hangs.folder.iterdir()) == ["lock", "record.json"]

    in_time, alone = limited("cell_timeout=1h"), cell(*WORDS, "output_dir=" + str(hangs.folder.parent / "alone"))
    assert in_time.id == alone.id and run(in_time) == run(alone)
    records = [read_json(made.folder / "record.json") for made in (in_time, alone)]
    assert records[0]["training"]["loss"] == records[1]["training"]["loss"] and "cell_timeout" not in records[0]["config"]
    assert run(in_time) == run(alone) and capfd.readouterr().err.count("(done before)") == 2

    with pytest.raises(Failed, match="took longer"):  # by the process that was made anew for the cell before
        run(slow)
    assert read_sealed(slow.folder / "checkpoint.pt")["progress"]["steps"] == 1  # the time for it was left
    run(cell(*WORDS, "trainer.warmup_ratio=0.25"))
    assert "going on from step 1" in capfd.readouterr().err


def test_a_process_that_is_killed_fails_its_cell_alone(limited):
    killed = limited("trainer.warmup_ratio=0.75", "cell_timeout=1h")
    with pytest.raises(Failed, match="the process of the cell ended by signal 9"):
        run(killed)
    assert read_json(killed.folder / "record.json")["status"] == "failed"


def test_a_mistake_is_one_line_as_ever(limited):
    with pytest.raises(UserError, match="cell_timeout=soon must be seconds above 0, or such as 90m"):
        run(limited("cell_timeout=soon"))


def test_a_record_of_the_last_moment_counts(limited, monkeypatch):
    made = limited("cell_timeout=1h")
    follow = parent.CellProcess._follow

    def late(process, seconds):
        assert follow(process, seconds).state == "finished"
        return parent.Outcome("late")

    monkeypatch.setattr(parent.CellProcess, "_follow", late)
    score = run(made)
    assert read_json(made.folder / "record.json")["validation_metric"]["value"] == score


def test_a_process_that_ended_between_two_cells_is_made_anew(limited, monkeypatch):
    first, second = limited("cell_timeout=1h"), limited("cell_timeout=1h", "seed=1")
    run(first)
    process = first.session.kept("process of cells", parent.CellProcess)
    process._child.kill()
    process._child.wait()
    monkeypatch.setattr(process._child, "poll", lambda: None)  # as if it had ended just behind the look
    assert run(second) == read_json(second.folder / "record.json")["validation_metric"]["value"]


def test_a_process_that_does_not_start_is_ended(limited, monkeypatch):
    monkeypatch.setattr(parent, "START", 0.1)
    monkeypatch.setattr(parent, "GRACE", 0.1)
    with pytest.raises(Failed, match="took longer than cell_timeout=1h"):
        run(limited("cell_timeout=1h"))
