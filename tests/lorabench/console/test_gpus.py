"""Which worker gets which GPU, and that no two sweeps share one by accident."""

import sys

import pytest

from lorabench.console import gpus
from lorabench.errors import UserError


@pytest.mark.parametrize(
    ("visible", "environment", "expected"),
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
def test_each_gpu_gets_a_worker_or_as_many_as_are_said(visible, environment, expected):
    assert gpus.places(visible, environment) == expected


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
        gpus.places(["0", "1"], environment)


@pytest.mark.parametrize(
    ("stated", "count", "expected"),
    [
        (None, 2, ["0", "1"]),
        ("3, GPU-b", 2, ["3", "GPU-b"]),
        ("0,1,9", 2, ["0", "1"]),
        ("", 2, []),
        ("-1", 2, []),
        (None, 0, []),
    ],
)
def test_visible_gpus_are_those_that_torch_can_use(monkeypatch, stated, count, expected):
    import torch

    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.setattr(gpus.metadata, "version", lambda name: "2.9.0")
    monkeypatch.setattr(gpus, "DRIVERS", (sys.executable,))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if stated is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", stated)
    assert gpus.visible_gpus() == expected


@pytest.mark.parametrize(("version", "drivers"), [("2.9.0+cpu", (sys.executable,)), ("2.9.0", ("/dev/absent",))])
def test_no_torch_is_asked_where_there_can_be_no_gpu(monkeypatch, version, drivers):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setattr(gpus.metadata, "version", lambda name: version)
    monkeypatch.setattr(gpus, "DRIVERS", drivers)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    assert gpus.visible_gpus() == []


@pytest.fixture
def smi(tmp_path, monkeypatch):
    """A function that says what ``nvidia-smi -L`` prints; claims are in a folder of the test's own."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))

    def write(*uuids):
        lines = "".join(f"echo 'GPU {index}: NVIDIA H100 (UUID: {uuid})'\n" for index, uuid in enumerate(uuids))
        (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\n{lines}")
        (tmp_path / "nvidia-smi").chmod(0o755)

    return write


def taken(names, shared=None):
    """Whether another sweep holds one of them now."""
    try:
        with gpus.claimed(names, shared):
            return False
    except UserError as error:
        return "is used by another sweep of this machine" in str(error)


@pytest.mark.usefixtures("smi")
def test_a_gpu_is_claimed_by_one_sweep_and_free_after_it():
    with gpus.claimed(["0", "1", "0"]):
        assert taken(["1"]) and taken(["2", "0"]) and not taken(["2", None, None])
    assert not taken(["0", "1"])


@pytest.mark.usefixtures("smi")
def test_sweeps_share_a_gpu_where_each_says_so_and_as_many_as_they_say():
    with gpus.claimed(["0"], 2):
        assert taken(["0"]) and taken(["0"], 1) and taken(["0", "0"], 2)
        with gpus.claimed(["0", "1"], 2):
            assert taken(["0"], 2) and not taken(["1"], 2)
        assert not taken(["0"], 2)
    with gpus.claimed(["0"]):
        assert taken(["0"], 2)
    with gpus.claimed(["0", "0"], 2):
        assert taken(["0"], 2)


def test_a_gpu_is_known_by_its_uuid_whatever_it_is_called(smi):
    smi("GPU-aa11", "GPU-bb22")
    with gpus.claimed(["1"]):
        assert taken(["GPU-bb22"]) and taken(["GPU-bb"]) and not taken(["0"])
        smi("GPU-cc33", "GPU-dd44")  # of another batch job, which sees other GPUs
        assert not taken(["1"])


def test_a_claim_that_cannot_be_opened_is_one_line(smi, tmp_path):
    (tmp_path / "lorabench-gpu-0.lock").symlink_to(tmp_path / "absent" / "file")
    with pytest.raises(UserError, match=r"gpu-0\.lock, the claim on a GPU, cannot be opened"), gpus.claimed(["0"]):
        pass
