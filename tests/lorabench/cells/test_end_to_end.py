"""Real cells on the embedded model, through the command line."""

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lorabench.training.sealed import read_sealed, write_sealed

SMALL = {"train_samples": 160, "batch_size": 8, "task.test_samples": 30, "task.validation_samples": 30}
TIMES = {"seconds", "scoring_seconds", "tokens_per_second", "peak_memory_bytes", "started", "finished"}


def command(folder: Path, *overrides: str) -> list[str]:
    given = {word.split("=")[0] for word in overrides}
    small = [f"{key}={value}" for key, value in SMALL.items() if key not in given]
    return [sys.executable, "-m", "lorabench", f"output_dir={folder}", *small, *overrides]


def lorabench(folder: Path, *overrides: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(folder, *overrides),
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1", **env},
    )


def cell_records(folder: Path) -> dict[str, dict]:
    return {file.parent.name: json.loads(file.read_text()) for file in folder.glob("*/record.json")}


def timeless(value):
    if isinstance(value, dict):
        return {key: timeless(item) for key, item in value.items() if key not in TIMES}
    return value


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder with two finished cells, and what the sweep printed."""
    folder = tmp_path_factory.mktemp("runs")
    done = lorabench(folder, "variant=lora,pissa", "lr=5e-3", "-m")
    assert done.returncode == 0, done.stderr
    return folder, done


def test_a_sweep_leaves_self_describing_records(finished):
    folder, done = finished
    records = cell_records(folder)
    assert sorted(r["config"]["variant"]["name"] for r in records.values()) == ["lora", "pissa"]
    for name, record in records.items():
        assert (record["schema_version"], record["id"], record["status"]) == (2, name, "complete")
        training, metrics = record["training"], record["metrics"]
        assert training["steps"] == len(training["loss"]) == 20
        assert training["loss"][-1][1] < training["loss"][0][1]
        assert training["trainable_parameters"] == 78848  # 28 matrices of (128, 128) x 16 and (128, 352) x 12, rank 8
        assert training["groups"] == [{"name": "0", "lr": 5e-3, "parameters": 78848}]
        assert [step for step, _ in training["lr"]] == list(range(1, 21))
        assert training["lr"][0][1] == [0.0] and training["lr"][1][1] == [5e-3]
        assert training["peak_memory_bytes"] > 1e8
        assert metrics["test"]["sets"]["arithmetic"]["n"] == 30
        assert record["validation_metric"]["value"] == metrics["validation"]["mean"]
        assert record["base"].keys() == {"validation", "test"}
        assert {"torch", "peft", "transformers", "python"} <= record["versions"].keys()
        assert record["git"].keys() == {"commit", "dirty"}
        assert record["device"]["threads"] == 1
        rows = [json.loads(line) for line in gzip.open(folder / name / "completions.jsonl.gz")]
        for split in ("validation", "test"):
            scores = [row["score"] for row in rows if row["split"] == split]
            assert sum(scores) / len(scores) == metrics[split]["mean"]
        assert not (folder / name / "checkpoint.pt").exists()
    assert "[2/2]" in done.stderr


def test_a_finished_cell_is_not_trained_again(finished):
    folder, _ = finished
    before = {file: file.stat().st_mtime_ns for file in folder.glob("*/record.json")}
    again = lorabench(folder, "variant=lora,pissa", "lr=5e-3", "-m")
    assert again.returncode == 0
    assert again.stderr.count("done before") == 2
    assert {file: file.stat().st_mtime_ns for file in folder.glob("*/record.json")} == before


def test_a_cell_alone_repeats_the_bits_of_the_sweep(finished, tmp_path):
    folder, _ = finished
    done = lorabench(tmp_path, "variant=pissa", "lr=5e-3")
    assert done.returncode == 0, done.stderr
    [(name, record)] = cell_records(tmp_path).items()
    assert timeless(record) == timeless(cell_records(folder)[name])
    assert (
        gzip.open(tmp_path / name / "completions.jsonl.gz").read() == gzip.open(folder / name / "completions.jsonl.gz").read()
    )


def test_killed_cell_goes_on_to_the_same_bits(finished, tmp_path):
    folder, _ = finished
    overrides = ["variant=lora", "lr=5e-3", "trainer.checkpoint_minutes=0"]
    process = subprocess.Popen(
        command(tmp_path, *overrides), env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("*/checkpoint.pt")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    [checkpoint] = tmp_path.glob("*/checkpoint.pt")
    assert not cell_records(tmp_path)
    state = read_sealed(checkpoint)
    assert 0 < state["progress"]["steps"] < 20
    # Time spent before the kill marks a run that really went on from there.
    state["progress"]["seconds"] += 1000
    write_sealed(checkpoint, state)
    done = lorabench(tmp_path, *overrides)
    assert done.returncode == 0, done.stderr
    [(name, record)] = cell_records(tmp_path).items()
    expected = cell_records(folder)[name]
    assert record["training"]["seconds"] > 1000
    assert record["training"]["loss"] == expected["training"]["loss"]
    assert record["metrics"] == expected["metrics"]


def test_two_processes_share_a_sweep(tmp_path):
    overrides = ["lr=1e-3,2e-3,5e-3", "task.test_samples=5", "task.validation_samples=5", "-m"]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    processes = [subprocess.Popen(command(tmp_path, *overrides), env=env, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    messages = [p.communicate(timeout=300)[1] for p in processes]
    assert [p.returncode for p in processes] == [0, 0], messages
    assert len(cell_records(tmp_path)) == 3
    fresh = sum(
        line.count("complete") - line.count("done before") for text in messages for line in text.splitlines() if "[" in line
    )
    assert fresh == 3  # every cell was trained by one of them only


def test_a_diverged_cell_is_a_result(tmp_path):
    done = lorabench(tmp_path, "lr=1e38", "task.test_samples=5", "task.validation_samples=5")
    assert done.returncode == 0, done.stderr
    [record] = cell_records(tmp_path).values()
    assert record["status"] == "diverged"
    assert record["validation_metric"]["value"] == record["metrics"]["test"]["mean"] == 0
    assert record["metrics"]["test"]["sets"]["arithmetic"]["n"] == 5


def test_a_failed_cell_is_told_leaves_the_others_and_is_tried_again(tmp_path):
    # The loop of one of the two cells is made to fail, until a file says that the cause is mended.
    (tmp_path / "sitecustomize.py").write_text(
        "import lorabench.training.loop as loop, os\n"
        "true = loop.backward\n"
        "def broken(model, examples, settings, pad, masks):\n"
        "    if settings.warmup_ratio == 0.5 and not os.path.exists(os.environ['MENDED']):\n"
        "        raise RuntimeError('no room')\n"
        "    return true(model, examples, settings, pad, masks)\n"
        "loop.backward = broken\n"
    )
    overrides = ["trainer.warmup_ratio=0.5,0.03", "task.test_samples=5", "task.validation_samples=5", "-m"]
    env = {"PYTHONPATH": str(tmp_path), "MENDED": str(tmp_path / "mended")}
    runs = tmp_path / "runs"
    done = lorabench(runs, *overrides, **env)
    assert done.returncode == 1
    assert "RuntimeError: no room" in done.stderr
    assert "1 of 2 cells failed; this command tries them alone again: python -m lorabench output_dir=" in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(r["status"] for r in cell_records(runs).values()) == ["complete", "failed"]
    [failed] = [r for r in cell_records(runs).values() if r["status"] == "failed"]
    assert "in broken" in failed["traceback"]
    (tmp_path / "mended").touch()
    assert lorabench(runs, *overrides, **env).returncode == 0
    assert sorted(r["status"] for r in cell_records(runs).values()) == ["complete", "complete"]
