"""What a record says is there is on the disk before it, and a failed cell is tried once in a sweep."""

import os
from pathlib import Path

import pytest

from lorabench.cells import run as running
from lorabench.cells.run import run
from lorabench.errors import Failed
from lorabench.files import read_json
from lorabench.terminal.progress import SWEEP

SMALL = ["train_samples=16", "task.test_samples=4", "task.validation_samples=4"]


@pytest.mark.parametrize("variant", ["lora", "full"])
def test_an_adapter_and_the_folders_are_on_the_disk_before_the_record(cell, tmp_path, monkeypatch, variant):
    made, steps, fsync, replace = cell(*SMALL, "save_adapter=true", f"variant={variant}"), [], os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda place: (steps.append(os.readlink(f"/proc/self/fd/{place}")), fsync(place))[1])
    monkeypatch.setattr(os, "replace", lambda one, other: (steps.append(f"name {other}"), replace(one, other))[1])
    run(made)
    written = steps[: steps.index(f"name {made.folder / 'record.json'}")]
    saved = [file for file in (made.folder / "adapter").rglob("*") if file.name != "README.md"]
    assert len(saved) > 1
    for place in (tmp_path, made.folder, made.folder / "adapter", *saved, made.folder / "completions.jsonl.gz"):
        places = [str(place), f"name {place}"]  # a file that takes its place by a rename is synced under another name
        assert any(step in places for step in written), place


def test_a_cell_that_has_failed_is_tried_once_in_a_sweep_whatever_the_clock_says(cell, monkeypatch):
    tries = []

    def broken(*_):
        tries.append(1)
        raise RuntimeError("no room")

    monkeypatch.setattr(running, "train_cell", broken)
    monkeypatch.setattr(running, "now", lambda: f"20{90 - len(tries)}-01-01T00:00:00+00:00")
    monkeypatch.setenv(SWEEP, "one")
    with pytest.raises(RuntimeError, match="no room"):
        run(cell(*SMALL))
    made = cell(*SMALL)
    for _ in range(2):
        with pytest.raises(Failed, match="no room"):
            run(cell(*SMALL))
    assert len(tries) == 1 and read_json(Path(made.folder) / "record.json")["sweep"] == "one"
    for sweep in ("two", None):
        monkeypatch.setenv(SWEEP, sweep) if sweep else monkeypatch.delenv(SWEEP)
        with pytest.raises(RuntimeError, match="no room"):
            run(cell(*SMALL))
    assert len(tries) == 3 and "sweep" not in read_json(Path(made.folder) / "record.json")
