"""The console script as it is installed, in a process of its own."""

import sys
from pathlib import Path

import pytest

SCRIPT = Path(sys.executable).with_name("lorabench")


@pytest.fixture(scope="session")
def script(process):
    """A function that runs ``lorabench`` with words."""
    if not SCRIPT.exists():
        pytest.skip("the console script is not installed (pip install -e .)")
    return lambda *words, **settings: process([str(SCRIPT), *words], **settings)


@pytest.fixture(scope="session")
def quick():
    """Words that make a cell of some steps on the embedded model."""
    return ["train_samples=16", "batch_size=8", "task.validation_samples=4", "task.test_samples=4", "task.max_new_tokens=8"]
