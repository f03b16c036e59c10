"""The shapes of a model's linear layers, known without its weights."""

import json
from functools import lru_cache
from typing import Any

import torch
from transformers import CONFIG_MAPPING, AutoConfig, AutoModelForCausalLM

from lorabench.errors import UserError
from lorabench.models.locate import locate
from lorabench.schema import ModelConfig


def architecture_config(spec: ModelConfig) -> Any:
    """The transformers config of a model, from its yaml or else from its checkpoint.

    Raises:
        UserError: an ``architecture`` of a kind that transformers does not have, or no checkpoint.
    """
    if spec.architecture and (spec.weights == "random" or not spec.path):
        if (kind := spec.architecture.get("model_type")) not in CONFIG_MAPPING:
            key = "model.architecture.model_type"
            raise UserError(f"model={spec.name}: {key}={kind} is none of transformers'; give one such as llama or qwen3")
        return AutoConfig.for_model(**spec.architecture)
    return AutoConfig.from_pretrained(locate(spec))


@lru_cache(maxsize=16)
def _shapes(key: str, spec_json: str) -> tuple[dict[str, tuple[int, int]], dict[str, int]]:
    """Of the linear layers, and the sizes of all weights."""
    spec = ModelConfig(**json.loads(spec_json))
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(architecture_config(spec))
    head = model.get_output_embeddings()  # often tied to the input embeddings, so no layer to adapt
    linear = {name: m for name, m in model.named_modules() if isinstance(m, torch.nn.Linear) and m is not head}
    shapes = {name: (m.out_features, m.in_features) for name, m in linear.items()}
    return shapes, {name: p.numel() for name, p in model.named_parameters()}


def linear_shapes(spec: ModelConfig) -> dict[str, tuple[int, int]]:
    """Shapes (out, in) of all linear layers but the output head by module name, without loading any weight."""
    return _shapes(*_key(spec))[0]


def weight_bytes(spec: ModelConfig, dtype: torch.dtype) -> dict[str, int]:
    """Bytes of each weight by its name in a base that is loaded in this precision, without loading any."""
    sizes = _shapes(*_key(spec))[1]
    width = {name: 4 if in_float32(name.rpartition(".")[0]) else dtype.itemsize for name in sizes}
    return {name: width[name] * size for name, size in sizes.items()}


def in_float32(module: str) -> bool:
    """Whether a module of a bfloat16 base stays in float32: as PiSSA's training code asks, before DeepSpeed casts all of it."""
    return module.endswith(("norm", "gate_proj"))


def _key(spec: ModelConfig) -> tuple[str, str]:
    return spec.path or spec.name, json.dumps({**vars(spec), "architecture": dict(spec.architecture)})
