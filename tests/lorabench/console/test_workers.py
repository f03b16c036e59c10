"""Several workers of one machine: places, claims, one display, and an end that loses nothing."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from lorabench.console import workers
from lorabench.errors import UserError

SMALL = ["train_samples=160", "task.test_samples=5", "task.validation_samples=5"]


@pytest.mark.parametrize(
    ("gpus", "environment", "expected"),
    [
        ([], {}, [None]),
        ([], {"JOBS": "3"}, [None] * 3),
        (["0", "1"], {}, ["0", "1"]),
        (["0", "1"], {"JOBS": "1"}, ["0"]),
        (["0", "1"], {"JOBS": "3"}, ["0", "1", "0"]),
        (["GPU-a", "GPU-b"], {"WORKERS_PER_GPU": "2"}, ["GPU-a", "GPU-b", "GPU-a", "GPU-b"]),
        (["0", "1"], {"WORKERS_PER_GPU": "2", "JOBS": "3"}, ["0", "1", "0"]),
    ],
)
def test_each_gpu_gets_a_worker_or_as_many_as_are_said(gpus, environment, expected):
    assert workers.places(gpus, environment) == expected


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"JOBS": "0"}, "JOBS=0 must be a whole number of at least 1"),
        ({"JOBS": "two"}, "JOBS=two must be a whole number"),
        ({"WORKERS_PER_GPU": "-1"}, "WORKERS_PER_GPU=-1 must be"),
        ({"JOBS": "5", "WORKERS_PER_GPU": "2"}, "JOBS=5 is more than 4, WORKERS_PER_GPU=2 on 2 visible GPUs"),
    ],
)
def test_wrong_numbers_are_one_line(environment, words):
    with pytest.raises(UserError, match=words):
        workers.places(["0", "1"], environment)


def test_a_gpu_is_claimed_by_one_sweep_and_free_after_it(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with workers.claimed(["0", "1", "0"]):
        with pytest.raises(UserError, match="GPU 1 is used by another sweep of this machine"), workers.claimed(["1"]):
            pass
        with workers.claimed(["2", None, None]):
            pass
    with workers.claimed(["0", "1", "0"]):
        pass


def test_a_worker_sees_its_gpu_alone(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    made = workers.environment_of(3, "GPU-b", 4)
    assert (made["CUDA_VISIBLE_DEVICES"], made["LORABENCH_WORKER"], made["OMP_NUM_THREADS"]) == ("GPU-b", "3", "1")
    assert "OMP_NUM_THREADS" not in workers.environment_of(0, "0", 1)


def start(folder, *words):
    line = [sys.executable, "-m", "lorabench.console.workers", *SMALL, f"output_dir={folder}", *words]
    return subprocess.Popen(
        line, env={**os.environ, "JOBS": "2", "CUDA_VISIBLE_DEVICES": ""}, stderr=subprocess.PIPE, text=True
    )


def records(folder):
    return [json.loads(file.read_text()) for file in folder.glob("*/record.json")]


def test_two_workers_tell_each_cell_once_and_lose_none_to_an_end(tmp_path):
    first = start(tmp_path, "lr=1e-3,2e-3,5e-3,6e-3,7e-3,8e-3")
    deadline = time.monotonic() + 240
    while not records(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.1)
    first.send_signal(signal.SIGTERM)
    first.communicate(timeout=120)
    assert first.returncode != 0 and 0 < len(records(tmp_path)) < 6
    before = len(records(tmp_path))
    second = start(tmp_path, "lr=1e-3,2e-3,5e-3,6e-3,7e-3,8e-3")
    _, text = second.communicate(timeout=300)
    assert second.returncode == 0, text
    lines = [line for line in text.splitlines() if ": complete" in line]
    assert len(lines) == len(set(lines)) == 6 - before and f"{before} of 6 cells are done already" in text
    assert [record["status"] for record in records(tmp_path)] == ["complete"] * 6
    assert "[6/6]" in lines[-1]
