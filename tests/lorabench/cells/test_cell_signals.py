"""A signal at every phase of a cell: the cell goes on to the bits of one that nobody disturbed, and nothing stays behind."""

import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from lorabench.__main__ import main
from lorabench.cells import run as running
from lorabench.files import read_json
from lorabench.records.holding import held
from lorabench.sandbox import kernel, pool
from lorabench.terminal.entry import command
from lorabench.training import loop
from lorabench.training.checkpoint import Checkpoint

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc, and forks")
WORDS = ["train_samples=16", "task.validation_samples=4", "task.test_samples=4", "task.max_new_tokens=8", "lr=5e-3"]
SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1]
PHASES = {
    "data": (running, "prepare_data"),
    "step": (loop, "backward"),
    "checkpoint": (Checkpoint, "write"),
    "evaluation": (running, "answer_cell"),
    "scoring": (running, "score_record"),
    "record": (running, "write_card"),
}
"""What a cell does one after the other, by the function that does it."""


def forked(body, file):
    """Run a body in a copy of this process, which has all modules and the model; returns its exit code and what it said."""
    pid = os.fork()
    if pid == 0:
        code = 99
        try:
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(descriptor, 1)
            os.dup2(descriptor, 2)
            sys.stdout = sys.stderr = os.fdopen(2, "w", buffering=1)
            for number in SIGNALS:
                signal.signal(number, signal.SIG_DFL)
            body()
            code = 0
        except SystemExit as stop:
            code = stop.code
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), file.read_text()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The folder and the record of the cell, run in this process, whose copies so have its model."""
    folder = tmp_path_factory.mktemp("undisturbed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [])
        patch.setattr(sys, "path", list(sys.path))
        patch.setenv("HYDRA_FULL_ERROR", "")
        run_command(folder)
    [file] = folder.glob("*/record.json")
    return folder, read_json(file)


def run_command(folder):
    sys.argv = ["lorabench", f"output_dir={folder}", *WORDS]
    main(console=False)


def signalled(function, number):
    """The function, at whose start this process gets a signal, once."""
    numbers = [number]

    def with_signal(*args, **kwargs):
        if numbers:
            os.kill(os.getpid(), numbers.pop())
        return function(*args, **kwargs)

    return with_signal


@pytest.mark.parametrize(("phase", "number"), [*zip(PHASES, [*SIGNALS, *SIGNALS], strict=False)])
def test_the_same_command_goes_on_to_the_same_bits(undisturbed, tmp_path, phase, number):
    folder, expected = undisturbed
    shutil.copytree(folder / "base", tmp_path / "base")
    place, name = PHASES[phase]

    def disturbed():
        setattr(place, name, signalled(getattr(place, name), number))
        run_command(tmp_path)

    code, said = forked(disturbed, tmp_path / "said.txt")
    assert code == 128 + number, said
    assert "Traceback" not in said and said.count("lorabench: ") == 1
    [cell] = [file for file in tmp_path.iterdir() if file.is_dir() and file.name != "base"]
    trained, recorded = (cell / "checkpoint.pt").exists(), (cell / "record.json").exists()
    assert (trained, recorded) == (phase not in ("data", "record"), phase == "record")
    assert list(tmp_path.rglob("*.tmp")) == []
    with held(cell / "lock", "", wait=False) as free:
        assert free
    assert {"data": "begins", "scoring": "scores the answers", "record": "interrupted" if number == 2 else "ended by"}.get(
        phase, "goes on from"
    ) in said.splitlines()[-1]
    code, said = forked(lambda: run_command(tmp_path), tmp_path / "said.txt")
    assert code == 0 and ("going on from step" in said) == (trained and phase != "scoring"), said
    record = read_json(cell / "record.json")
    assert record["training"]["loss"] == expected["training"]["loss"]
    assert (record["metrics"], record["validation_loss"]) == (expected["metrics"], expected["validation_loss"])
    assert not (cell / "checkpoint.pt").exists()


def alive():
    """Processes below this one; what nobody has waited for has ended, too."""
    states = {
        pid: Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] for pid in kernel.descendants(os.getpid())
    }
    return {pid for pid, state in states.items() if state != "Z"}


@pytest.mark.parametrize("delay", [0.2, 2.5], ids=["while it starts", "while code runs"])
def test_a_sandbox_leaves_no_process_and_no_folder(tmp_path, delay):
    job = {"kind": "asserts", "name": "endless", "solution": "while True: pass", "tests": "", "model": "", "seconds": 60.0}

    def disturbed():
        tempfile.tempdir = str(tmp_path)
        with command():
            threading.Timer(delay, os.kill, (os.getpid(), signal.SIGTERM)).start()
            pool.run([job], bubblewrap=False, workers=1)

    before = alive()
    kernel.adopt_orphans()  # whatever it leaves would be this process's
    code, said = forked(disturbed, Path(tmp_path / "said.txt"))
    assert code == 143, said
    assert "ended by SIGTERM" in said and "Traceback" not in said
    assert list(tmp_path.glob("lorabench-sandbox-*")) == []
    deadline = time.monotonic() + 10
    while not alive() <= before and time.monotonic() < deadline:  # they die with their parent, in a moment
        time.sleep(0.05)
    assert alive() <= before
