"""The short form of `make chaos`: a grid that is killed twenty times comes to the bits of one that nobody disturbs."""

import sys

import pytest

from benchmarks import killing
from benchmarks.leavings import differences

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks")
WORDS = ["variant=lora,pissa", "train_samples=16", "batch_size=8", "task.test_samples=4", "task.validation_samples=4"]


def test_twenty_kills(tmp_path):
    tally = killing.killed_until_done(WORDS, tmp_path, kills=20, seed=0)
    assert tally.faults == []
    assert tally.kills.total() >= 20 and tally.aimed > 0 and len(tally.kills) > 3


def test_what_is_not_the_same_is_seen(tmp_path):
    """Another value in a record, a file that was left, and one that is missing."""
    expected = {"a/record.json": {"loss": [1.0, 2.0]}, "a/x": None}
    assert differences(expected, {"a/record.json": {"loss": [1.0, 3.0]}, "a/y.tmp": None}) == [
        "a/record.json differs at .loss: [1.0, 2.0] / [1.0, 3.0]",
        "a/x is missing",
        "a/y.tmp was left",
    ]
