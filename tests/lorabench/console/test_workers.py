"""Several workers of one machine: what is divided among them, one display, and an end that loses nothing."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hydra._internal.utils import get_args_parser

from lorabench.console import gpus, workers
from lorabench.errors import UserError

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def divided(monkeypatch):
    """A function that tells the places of a sweep with such words, on a machine with such GPUs."""

    def places_of(visible, words, **environment):
        monkeypatch.setattr(workers, "visible_gpus", lambda: visible)
        for name in ("JOBS", "WORKERS_PER_GPU"):
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        return workers.places_of(get_args_parser().parse_args(["-m", *words]))

    return places_of


@pytest.mark.parametrize(
    ("visible", "words", "expected"),
    [
        (["0", "1"], ["lr=1e-3,2e-3"], ["0", "1"]),
        (["0"], ["lr=1e-3,2e-3"], ["0"]),
        ([], ["lr=1e-3,2e-3"], []),
        (["0", "1"], ["lr=1e-3,2e-3", "device=cpu"], [None]),
        (["0", "1"], ["lr=1e-3,2e-3", "device=cuda:1"], ["1"]),
        (["0", "1"], ["+experiment=tiny_lrsweep", "plan=true"], []),
        (["0", "1"], ["lr=1e-3,2e-3", "plan=true,false"], []),
        (["0", "1"], ["lr=1e-3,2e-3", "--cfg=job"], []),
        (["0", "1"], ["lr=1e-3,2e-3", "--help"], []),
        (["0", "1"], ["hydra/sweeper=random", "lr=1e-3,2e-3"], ["0"]),
        (["0", "1"], ["model=nosuch"], []),  # which the one process says
    ],
    ids=str,
)
def test_a_grid_has_all_places_and_what_is_one_process_has_one(divided, visible, words, expected):
    assert divided(visible, words) == expected


def test_what_a_folder_of_ones_own_chooses_counts(divided, tmp_path, capsys):
    (tmp_path / "hydra" / "launcher").mkdir(parents=True)
    (tmp_path / "hydra" / "launcher" / "far.yaml").write_text("_target_: far.FarLauncher\n")
    (tmp_path / "hydra" / "sweeper").mkdir()
    (tmp_path / "hydra" / "sweeper" / "own.yaml").write_text("defaults: [random]\n")
    folder = f"--config-dir={tmp_path}"
    assert divided([], ["lr=1e-3,2e-3", "hydra/launcher=far", folder], JOBS="2") == []
    assert "JOBS=2 is left aside: hydra/launcher says where" in capsys.readouterr().err
    assert divided([], ["hydra/sweeper=own", "lr=1e-3,2e-3", folder], JOBS="2") == [None]
    assert "JOBS=2 is left aside: a search runs" in capsys.readouterr().err
    assert divided([], ["lr=1e-3,2e-3", folder], JOBS="2") == [None, None]


def test_several_workers_on_a_gpu_that_device_names_are_refused(divided):
    with pytest.raises(UserError, match="device=cuda:1 is one GPU"):
        divided(["0", "1"], ["lr=1e-3,2e-3", "device=cuda:1"], JOBS="2")


def test_a_worker_sees_its_gpu_alone(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    made = workers.environment_of(3, "GPU-b", 4, "a sweep")
    assert (made["CUDA_VISIBLE_DEVICES"], made["LORABENCH_WORKER"], made["OMP_NUM_THREADS"]) == ("GPU-b", "3", "1")
    assert "HYDRA_FULL_ERROR" not in made  # or a worker would answer a mistake by a traceback
    assert "OMP_NUM_THREADS" not in workers.environment_of(0, "0", 1, "a sweep")


COMMAND = """
import sys
from lorabench.console import workers
from lorabench.__main__ import main
workers.visible_gpus = lambda: {gpus}
workers.Workers.run = lambda self: print(self.line[1:], self.gpus, "torch" in sys.modules)
main()
"""


def test_the_command_hands_its_words_to_workers_without_torch(python, tmp_path):
    done = python("-c", COMMAND.format(gpus=[]), "sweep", "lr=1e-3,2e-3", cwd=tmp_path, JOBS="2")
    words = ["-m", "lorabench", "-m", "lr=1e-3,2e-3"]
    assert (done.returncode, done.stdout) == (0, f"{words} [None, None] False\n"), done.stderr


def test_a_second_sweep_of_a_gpu_is_refused_in_one_line(python, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with gpus.claimed(["0"]):
        done = python("-c", COMMAND.format(gpus=["0"]), "sweep", "lr=1e-3,2e-3", cwd=tmp_path, TMPDIR=str(tmp_path))
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("lorabench: GPU 0 is used by another sweep of this machine")
    assert not (tmp_path / "runs").exists()


PARENT = """
import sys
from lorabench.console.workers import Workers
sweep = Workers([], [None, None])
sweep.line = [sys.executable, "-c", sys.argv[1]]
sys.exit(sweep.run())
"""
WORKER = """
import os, sys, time
from lorabench.terminal import signals
signals.catch()
print("alike", file=sys.stderr)
print("pid", os.getpid(), file=sys.stderr, flush=True)
for _ in range(600):
    time.sleep(0.1)  # a signal just before a long one would wait for its end
"""


EARLY = """
import signal, sys
from lorabench.console.workers import Workers
start = Workers._start
Workers._start = lambda self, *place: (start(self, *place), self._end(signal.SIGINT, None))
sweep = Workers([], [None])
sweep.line = [sys.executable, "-m", "lorabench"]
sys.exit(sweep.run())
"""


@pytest.fixture
def pair():
    """A parent of two workers that sleep, their ids, and what the parent said until then."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    parent = subprocess.Popen([sys.executable, "-c", PARENT, WORKER], env=environment, stderr=subprocess.PIPE, text=True)
    said = [parent.stderr.readline() for _ in range(3)]
    yield parent, [int(line.split()[1]) for line in said if line.startswith("pid")], said
    parent.kill()
    parent.communicate()


def gone(*pids):
    """Whether these processes end within some seconds; what nobody has waited for has ended, too."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        states = [
            Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] for pid in pids if Path(f"/proc/{pid}").exists()
        ]
        if set(states) <= {"Z"}:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129), (signal.SIGUSR1, 138)]
)
def test_a_signal_ends_all_and_is_the_exit_code(pair, number, code):
    parent, pids, said = pair
    assert said.count("alike\n") == 1 and len(pids) == 2
    parent.send_signal(number)
    _, text = parent.communicate(timeout=60)
    assert parent.returncode == code and gone(*pids)
    assert text.count("the same command goes on") == 1 and "was killed" not in text and "Traceback" not in text


def test_a_signal_that_is_there_before_the_workers_are_python_is_no_traceback():
    """Python's own handler of Ctrl-C, at the start of a process, would be one."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", EARLY], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 130 and "Traceback" not in done.stderr, done.stderr


def test_no_worker_outlives_its_parent(pair):
    parent, pids, _ = pair
    parent.kill()
    parent.wait()
    assert gone(*pids)


def children(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_killed_worker_loses_no_cell(tmp_path, quick):
    words = ["sweep", *quick, "lr=1e-3,2e-3,3e-3,4e-3", f"output_dir={tmp_path}"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "JOBS": "2", "CUDA_VISIBLE_DEVICES": ""}
    line = [sys.executable, "-m", "lorabench", *words]
    first = subprocess.Popen(line, env=environment, stderr=subprocess.PIPE, text=True)
    said = []
    for text in first.stderr:
        said.append(text)
        if len(said) == 1:
            os.kill(children(first.pid)[0], signal.SIGKILL)
    cells = [text for text in said if ": complete" in text]
    assert first.wait() == 137, said
    assert any("was killed (signal 9); its cell is free" in text for text in said)
    assert len(cells) >= 3 and "[4/4]" in cells[-1], said
    assert [text.count(" left") for text in (cells[0], cells[-1])] == [1, 0] and all(
        text.count(" left") < 2 for text in cells
    ), said
    environment.pop("JOBS")  # where one place is left, one process goes on
    second = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert second.returncode == 0 and second.stderr.count("(done before)") == 4, second.stderr
    records = [json.loads(file.read_text()) for file in tmp_path.glob("*/record.json")]
    assert [record["status"] for record in records] == ["complete"] * 4
