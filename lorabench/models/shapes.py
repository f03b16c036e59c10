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
        try:
            return AutoConfig.for_model(**spec.architecture)
        except Exception as error:  # whatever the checks of an architecture raise
            reason = " ".join(str(error).split())
            raise UserError(f"model={spec.name}: transformers makes no {kind} of model.architecture ({reason})") from error
    return AutoConfig.from_pretrained(locate(spec))


@lru_cache(maxsize=16)
def _shapes(key: str, spec_json: str) -> dict[str, tuple[int, int]]:
    spec = ModelConfig(**json.loads(spec_json))
    config = architecture_config(spec)
    try:
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config)
    except Exception as error:  # whatever the building of a model raises
        raise UserError(
            f"model={spec.name}: no causal language model has its architecture ({' '.join(str(error).split())})"
        ) from error
    head = model.get_output_embeddings()  # often tied to the input embeddings, so no layer to adapt
    linear = {name: m for name, m in model.named_modules() if isinstance(m, torch.nn.Linear) and m is not head}
    return {name: (m.out_features, m.in_features) for name, m in linear.items()}


def linear_shapes(spec: ModelConfig) -> dict[str, tuple[int, int]]:
    """Shapes (out, in) of all linear layers but the output head by module name, without loading any weight."""
    return _shapes(spec.path or spec.name, json.dumps(_plain(spec)))


def _plain(spec: ModelConfig) -> dict[str, Any]:
    return {**vars(spec), "architecture": dict(spec.architecture)}
