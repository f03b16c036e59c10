"""Devices by number, as CUDA_VISIBLE_DEVICES leaves them, and what of a GPU an engine finds free."""

import pytest
import torch

from lorabench.errors import UserError
from lorabench.models.devices import check_gpu, check_room, resolve_device, visible_alone

SET = {"CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
GIB = 2**30


@pytest.mark.parametrize(
    ("device", "count", "visible", "line"),
    [
        ("cuda:1", 1, "GPU-5e0c", "device=cuda:1: torch sees one GPU, cuda:0 (CUDA_VISIBLE_DEVICES='GPU-5e0c'); numbers count"),
        ("cuda:1", 1, None, "device=cuda:1: torch sees one GPU, cuda:0; numbers count those"),
        ("cuda:4", 2, "6,7", "device=cuda:4: torch sees 2 GPUs, cuda:0 … cuda:1 (CUDA_VISIBLE_DEVICES='6,7'); numbers count"),
        (
            "cuda",
            0,
            "",
            "device=cuda: this machine has no CUDA GPU that torch can use (CUDA_VISIBLE_DEVICES=''); use device=cpu",
        ),
    ],
)
def test_a_gpu_that_is_not_there_is_one_line(device, count, visible, line):
    environment = SET if visible is None else SET | {"CUDA_VISIBLE_DEVICES": visible}
    with pytest.raises(UserError) as refusal:
        check_gpu(torch.device(device), count, environment)
    assert str(refusal.value).startswith(line)


def test_those_that_are_there_pass():
    check_gpu(torch.device("cuda"), 1, SET | {"CUDA_VISIBLE_DEVICES": "MIG-0a1b"})
    check_gpu(torch.device("cuda:1"), 2, SET | {"CUDA_VISIBLE_DEVICES": "7,GPU-5e0c"})


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_the_variable_is_named_where_it_hides_the_gpus(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(UserError, match=r"no CUDA GPU that torch can use \(CUDA_VISIBLE_DEVICES=''\); use device=cpu"):
        resolve_device("cuda:1")
    assert resolve_device("auto").type == "cpu"


@pytest.mark.parametrize(
    ("device", "visible", "alone"),
    [
        ("cuda:1", "GPU-5e0c, GPU-77aa", "GPU-77aa"),
        ("cuda", "MIG-0a1b", "MIG-0a1b"),
        ("cuda:1", "7,GPU-5e0c", "GPU-5e0c"),
        ("cuda:2", None, "2"),
        ("cpu", "3", ""),
    ],
)
def test_a_child_sees_the_same_device_by_the_same_name(device, visible, alone):
    assert visible_alone(torch.device(device), visible) == alone


def test_a_gpu_that_another_process_shares_is_one_line():
    check_room(60 * GIB, 80 * GIB, 0.7, "evaluator.gpu_memory_utilization")
    line = (
        "evaluator.gpu_memory_utilization=0.7 asks for 56.0 of the GPU's 80.0 GiB, and 20.0 are free beside the base and other "
        "processes; use at most 0.25, or another GPU for them"
    )
    with pytest.raises(UserError) as refusal:
        check_room(20 * GIB, 80 * GIB, 0.7, "evaluator.gpu_memory_utilization")
    assert str(refusal.value) == line
