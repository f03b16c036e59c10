"""What must stand in the environment before torch is imported, in every entry point and whatever is launched."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from lorabench.errors import UserError
from lorabench.models.devices import WORKSPACES, check_gpu
from lorabench.provenance import device_state
from lorabench.training.seed import deterministic

ROOT = Path(__file__).resolve().parents[2]
WATCH = """
import os, runpy, sys

class Watch:
    def find_spec(self, name, *args):
        if name == "torch":
            print("workspace", os.environ.get("CUBLAS_WORKSPACE_CONFIG"), flush=True)
            os._exit(0)

sys.meta_path.insert(0, Watch())
"""
MODULE = "sys.argv[1:] = {words}; runpy.run_module({module!r}, run_name='__main__', alter_sys=True)"
ENTRIES = {
    "a cell": MODULE.format(module="lorabench", words=["lr=1e-3"]),
    "a grid": MODULE.format(module="lorabench", words=["lr=1e-3,2e-3", "-m"]),
    "a search": MODULE.format(
        module="lorabench", words=["lr=1e-3,2e-3", "hydra/sweeper=random", "hydra.sweeper.budget=1", "-m"]
    ),
    "hessian": MODULE.format(module="hessian", words=["layers=0"]),
    "variants": MODULE.format(module="lorabench.variants", words=[]),
    "rescoring": MODULE.format(module="lorabench.evaluate", words=["rescore", "nowhere"]),
    "pretraining": MODULE.format(module="lorabench.tiny.pretrain", words=[]),
    "the console script": "sys.argv[1:] = ['hessian', 'layers=0']; from lorabench.__main__ import main; main()",
    "a job of a launcher": "import lorabench.__main__; from lorabench.cells import run",  # what unpickling a job imports
    "an engine": "import lorabench.generation.vllm_engine",
    "a method of hessian": "import hessian.study.study",
}


@pytest.mark.parametrize("entry", ENTRIES)
def test_the_workspace_is_set_before_torch_is_imported(entry, tmp_path):
    environment = {key: value for key, value in os.environ.items() if key != "CUBLAS_WORKSPACE_CONFIG"}
    environment |= {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", WATCH + ENTRIES[entry]], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.stdout.splitlines()[-1:] == ["workspace :4096:8"], done.stderr


def test_a_value_of_the_users_own_stays_and_is_recorded(tmp_path):
    code = (
        "import lorabench, torch; from lorabench.provenance import device_state; "
        "print(device_state(torch.device('cpu'), torch.float32)['cublas_workspace'])"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT), "CUBLAS_WORKSPACE_CONFIG": ":16:8"}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.stdout.strip() == ":16:8", done.stderr
    assert device_state(torch.device("cpu"), torch.float32)["cublas_workspace"] in WORKSPACES


def test_one_that_lets_no_gpu_repeat_its_bits_is_refused_there():
    device = torch.device("cuda")
    for workspace in WORKSPACES:
        check_gpu(device, 1, {"CUBLAS_WORKSPACE_CONFIG": workspace})
    with pytest.raises(UserError, match="CUBLAS_WORKSPACE_CONFIG=:0:0 lets no GPU repeat its bits; unset it, or use one of"):
        check_gpu(device, 1, {"CUBLAS_WORKSPACE_CONFIG": ":0:0"})


@pytest.mark.parametrize("before", [True, False])
def test_deterministic_fills_no_new_tensor_and_leaves_all_as_it_was(before):
    settings = torch.utils.deterministic
    original = settings.fill_uninitialized_memory
    try:
        settings.fill_uninitialized_memory = before
        with deterministic():
            assert torch.are_deterministic_algorithms_enabled() and not settings.fill_uninitialized_memory
        assert settings.fill_uninitialized_memory is before and not torch.are_deterministic_algorithms_enabled()
    finally:
        settings.fill_uninitialized_memory = original
