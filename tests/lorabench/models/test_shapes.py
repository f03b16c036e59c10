"""The models of conf/model have their published sizes, and their shapes are known without weights."""

import pytest
import torch
from omegaconf import OmegaConf
from transformers import AutoModelForCausalLM

from lorabench.errors import UserError
from lorabench.models.shapes import architecture_config, linear_shapes
from lorabench.schema import CONF, ModelConfig

MODELS = sorted(file.stem for file in (CONF / "model").glob("*.yaml"))
PARAMETERS = {  # published sizes of the linear layers' models, in millions, embeddings included
    "tiny": 0.87,
    "smollm2-135m": 134.5,
    "qwen3-0.6b": 596.0,
    "gemma-3-1b": 999.9,
    "llama-2-7b": 6738.4,
    "llama-2-13b": 13015.9,
}


def spec_of(name: str) -> ModelConfig:
    return ModelConfig(**OmegaConf.to_container(OmegaConf.load(CONF / "model" / f"{name}.yaml")))


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_shipped_model_has_its_true_size(name):
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(architecture_config(spec_of(name)))
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(PARAMETERS[name], rel=2e-3)


@pytest.mark.parametrize("name", MODELS)
def test_every_model_has_the_matrices_that_variants_adapt(name):
    spec = spec_of(name)
    try:
        leaves = {matrix.rsplit(".", 1)[-1] for matrix in linear_shapes(spec)}
    except UserError as error:  # a yaml without `architecture`, whose checkpoint is not on this machine
        pytest.skip(str(error))
    assert {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"} <= leaves


def test_shapes_without_weights_are_those_of_the_loaded_model(tiny):
    loaded = {name: tuple(m.weight.shape) for name, m in tiny.model.named_modules() if isinstance(m, torch.nn.Linear)}
    assert loaded.pop("lm_head") == (512, 128)  # tied to the embeddings: nothing to adapt
    assert linear_shapes(spec_of("tiny")) == loaded
