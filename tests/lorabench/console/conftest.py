"""The console script as it is installed, in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = Path(sys.executable).with_name("lorabench")


def _run(command, cwd=None, **variables):
    environment = {key: value for key, value in os.environ.items() if key not in ("HYDRA_FULL_ERROR", "LORABENCH_CONFIG_DIR")}
    environment |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"} | variables
    environment = {key: value for key, value in environment.items() if value is not None}
    return subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=cwd, env=environment)


@pytest.fixture(scope="session")
def script():
    """A function that runs ``lorabench`` with words."""
    if not SCRIPT.exists():
        pytest.skip("the console script is not installed (pip install -e .)")
    return lambda *words, **settings: _run([str(SCRIPT), *words], **settings)


@pytest.fixture(scope="session")
def python():
    """A function that runs Python with words."""
    return lambda *words, **settings: _run([sys.executable, *words], **settings)


@pytest.fixture(scope="session")
def quick():
    """Words that make a cell of some steps on the embedded model."""
    return ["train_samples=16", "batch_size=8", "task.validation_samples=4", "task.test_samples=4", "task.max_new_tokens=8"]
