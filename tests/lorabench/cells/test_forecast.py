"""The main memory that a cell takes: by names, against what is really loaded, and what is refused."""

import shutil

import pytest
import torch

from lorabench.cells.checks import check
from lorabench.cells.forecast import check_main_memory, main_memory
from lorabench.cells.plan import preflight
from lorabench.errors import UserError
from lorabench.models.shapes import weight_bytes
from lorabench.training import memory

BF16 = torch.bfloat16


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
    pytest.importorskip("vllm")
    made = cell("model=qwen3-0.6b", "evaluator=vllm")
    size = sum(weight_bytes(made.model, BF16).values())
    parts = main_memory(made, "cuda", BF16)
    fits = shutil.disk_usage("/dev/shm").free > 2 * size
    assert parts.get("the engine's checkpoint in shared memory") == (size if fits else None)
    assert main_memory(made, "cpu", BF16)["the engine's weights"] == size


def test_a_preflight_stops_before_it_is_too_much(cell):
    """70 billion weights in float32 on a CPU: three times 280 GB."""
    words = [
        "model=llama-2-13b",
        "model.name=larger",
        "model.weights=random",
        "model.dtype=float32",
        "device=cpu",
        "model.architecture.num_hidden_layers=220",
    ]
    assert memory.machine() < 800e9, "this machine is larger than the test's model"
    with pytest.raises(UserError, match=r"model=larger needs 8\d\d GB of main memory \(the base 2.., its untouched weights"):
        check(cell(*words))


def test_a_plan_says_it_for_a_gpu_elsewhere_too(cell, capsys):
    made = cell("model=llama-2-13b", "device=cuda", "plan=true")
    from omegaconf import OmegaConf

    assert not preflight([OmegaConf.create(made.config)])
    assert "at the most: 62.1 GB of main memory (its untouched weights 31, the merged weights 31)" in capsys.readouterr().out
