"""Tests reach no hub: everything they need is in the project, or in ../shared, or they skip."""

import logging
import os
import re
import signal
from pathlib import Path

import pytest

os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", TRANSFORMERS_OFFLINE="1", WANDB_MODE="offline")

for _number in (signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP, signal.SIGUSR1] if hasattr(signal, "SIGHUP") else [])):
    if signal.getsignal(_number) == signal.SIG_IGN:  # of nohup or a background job: what a test starts would ignore it, too
        signal.signal(_number, lambda *_: None)

ROOT = Path(__file__).resolve().parents[1]


def pytest_collection_modifyitems(items):
    """An id with an address in memory differs between processes, and two that share the tests then refuse to start."""
    unstable = [item.nodeid for item in items if re.search(r"\b0x[0-9a-f]{8}", item.nodeid)]
    assert not unstable, f"ids with addresses; give the values names: {unstable}"


@pytest.fixture(autouse=True)
def no_folder_of_the_test_before():
    """A command notes its ``--config-dir`` for what it starts, and so for the next test of this process."""
    yield
    os.environ.pop("LORABENCH_CONFIG_DIR", None)


@pytest.fixture(autouse=True)
def loggers_of_ours_speak():
    """A command in the same process may set up logging, and what it silences would be silent for the next tests."""
    yield
    logging.disable(logging.NOTSET)
    for name, logger in logging.root.manager.loggerDict.items():
        if isinstance(logger, logging.Logger) and name.partition(".")[0] in ("analysis", "lorabench", "sweeps", "hessian"):
            logger.disabled, logger.propagate = False, True
            logger.setLevel(logging.NOTSET)
    logging.root.setLevel(logging.WARNING)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of public data sets beside the project, where there is one."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the public data sets (../shared/data) are not on this machine")
    return folder
