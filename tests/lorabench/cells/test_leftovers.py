"""What a killed process leaves; what an interruption says."""

import json
import os
import resource
import subprocess
import sys

import pytest

from lorabench.cells.run import run
from lorabench.files import read_json
from lorabench.models.fingerprint import fingerprint_of_schema_1
from lorabench.records.holding import held
from lorabench.records.legacy import legacy_id

SMALL = ["train_samples=16", "task.test_samples=4", "task.validation_samples=4"]


@pytest.mark.parametrize("content", [b"\xff\xfe", b"[]", b""])
def test_another_file_that_is_none_counts_as_missing(tmp_path, content):
    (tmp_path / "x.json").write_bytes(content)
    assert read_json(tmp_path / "x.json") is None


def test_an_unfinished_cell_of_schema_1_is_said_to_begin_anew(cell, tmp_path, capsys):
    made = cell(*SMALL)
    earlier = tmp_path / legacy_id(made.config, made.identity, fingerprint_of_schema_1(made.model))
    earlier.mkdir()
    (earlier / "checkpoint.pt").write_bytes(b"x")
    (earlier / "pending.json").write_text("{}")
    made.session._noted.clear()
    assert made.folder == tmp_path / made.id
    line = f"{earlier} is an unfinished cell of an earlier version: {made} begins anew, in {made.id}\n"
    assert capsys.readouterr().err == line
    (earlier / "record.json").write_text(json.dumps({"status": "failed"}))
    made.session._noted.clear()
    assert cell(*SMALL).folder == tmp_path / made.id
    assert line in capsys.readouterr().err


def test_what_a_killed_process_left_is_removed(cell):
    made = cell(*SMALL)
    made.folder.mkdir()
    (made.folder.parent / "base").mkdir()
    left = [made.folder / f"{name}.{2**22 + 1}.tmp" for name in ("checkpoint.pt", "record.json", "completions.jsonl.gz")]
    for file in left:
        file.write_bytes(b"x")
    run(made)
    assert not list(made.folder.glob("*.tmp"))


def test_a_full_disk_leaves_no_scratch_files(tmp_path):
    code = "import resource, sys; from lorabench.__main__ import main; import lorabench.cells.run\n"
    code += f"resource.setrlimit(resource.RLIMIT_FSIZE, (20000, {resource.RLIM_INFINITY})); main()"
    words = [*SMALL, f"output_dir={tmp_path}", "trainer.checkpoint_minutes=0"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, timeout=120, env=environment)
    line = "lorabench: cannot write (File too large); make room, and the same command goes on"
    assert done.returncode == 2 and done.stderr.splitlines()[-1] == line, done.stderr
    assert not list(tmp_path.rglob("record.json")) and not list(tmp_path.rglob("*.tmp"))  # it is no fault of the cell


@pytest.mark.parametrize(
    ("minutes", "what"), [(0, "goes on from {}/checkpoint.pt"), (10, "begins {} anew, which has no checkpoint yet")]
)
def test_an_interruption_says_what_the_same_command_does(cell, following_steps, minutes, what):
    made = cell(*SMALL, f"trainer.checkpoint_minutes={minutes}")

    def stop(training):
        if training.steps == 2:
            raise KeyboardInterrupt

    with following_steps(stop), pytest.raises(KeyboardInterrupt) as caught:
        run(made)
    made.session.forget_base()
    place = made.folder if minutes == 0 else made
    assert str(caught.value).startswith(f"interrupted; the same command {what.format(place)}")


KILLED = """
import os, signal, sys
from lorabench.__main__ import main
import lorabench.cells.run

name, replace = sys.argv.pop(1), os.replace

def kill(source, target):
    if str(target).endswith(name):
        os.kill(os.getpid(), signal.SIGKILL)
    replace(source, target)

os.replace = kill
main()
"""


@pytest.mark.parametrize("name", ["checkpoint.pt", "record.json"])
def test_a_kill_during_a_write_leaves_nothing_for_good(cell, tmp_path, python, name):
    done = python("-c", KILLED, name, *SMALL, f"output_dir={tmp_path}", "trainer.checkpoint_minutes=0")
    assert done.returncode == -9
    made = cell(*SMALL, "trainer.checkpoint_minutes=0")
    assert [file.name.partition(".")[0] for file in made.folder.glob("*.tmp")] == [name.partition(".")[0]]
    run(made)
    assert not list(made.folder.rglob("*.tmp")) and not (made.folder / "pending.json").exists()


def test_a_finished_cell_keeps_no_steps(cell):
    """A kill between the record and their removal."""
    made = cell(*SMALL)
    run(made)
    for name in ("pending.json", "checkpoint.pt", f"sharpness.jsonl.{2**22 + 1}.tmp"):
        (made.folder / name).write_bytes(b"{}")
    run(made)
    assert {file.name for file in made.folder.iterdir()} == {"completions.jsonl.gz", "lock", "record.json"}


def test_leftovers_of_other_untouched_models_are_removed_unless_one_is_being_written(cell, tmp_path):
    folder = tmp_path / "base"
    folder.mkdir()
    dead, living = (folder / f"{stem}.json.{2**22 + 1}.tmp" for stem in ("dead", "living"))
    for file in (dead, living):
        file.write_bytes(b"x")
    with held(folder / "living.lock", "living"):
        run(cell(*SMALL))
    assert (dead.exists(), living.exists()) == (False, True)
