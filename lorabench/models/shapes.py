"""A model's config and the shapes of its layers, known without its weights."""

import copy
import json
from collections.abc import Mapping
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import torch
from transformers import CONFIG_MAPPING, AutoConfig, AutoModelForCausalLM
from transformers.pytorch_utils import Conv1D

from lorabench.annotations import text_of
from lorabench.errors import UserError
from lorabench.models.answered import install
from lorabench.models.checkpoint import check_causal, check_config, in_one_line
from lorabench.models.gguf import folder_of
from lorabench.schema import ModelConfig

LINEAR = (torch.nn.Linear, Conv1D)
"""Kinds of linear layers; GPT-2's Conv1D holds Wᵀ."""

MADE, MOST_LAYERS = ("num_hidden_layers", "num_experts", "num_local_experts", "n_routed_experts"), 1000
"""Numbers of an architecture of which each one is a module, and how many there may be (ours; published ones: below 500)."""


def architecture_config(spec: ModelConfig) -> Any:
    """The transformers config of a model, from its yaml or else from its checkpoint.

    Raises:
        UserError: an ``architecture`` of a kind that transformers does not have, no checkpoint, or one of another kind.
    """
    if spec.architecture and (spec.weights == "random" or not spec.path):
        kind = spec.architecture.get("model_type")
        if not isinstance(kind, str) or kind not in CONFIG_MAPPING:
            key = "model.architecture.model_type"
            raise UserError(
                f"model={spec.name}: {key}={text_of(kind)} is none of transformers'; give one such as llama or qwen3"
            )
        try:
            return AutoConfig.for_model(**spec.architecture)
        except Exception as error:  # whatever the checks of an architecture raise
            key = "model.architecture"
            raise UserError(f"model={spec.name}: transformers makes no {kind} of {key} ({in_one_line(error)})") from error
    return folder_config(folder_of(spec))


def folder_config(folder: Path) -> Any:
    """The transformers config of a checkpoint.

    Raises:
        UserError: it cannot be one of a plain model, see ``checkpoint.check_config``.
    """
    check_config(folder)
    install()
    try:
        return AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # each kind of model checks its own values
        raise UserError(f"{folder}: config.json makes no model ({in_one_line(error)})") from error


def skeleton(spec: ModelConfig) -> Any:
    """The model without weights, on torch's ``meta`` device.

    Raises:
        UserError: it is no decoder.
    """
    file = Path(spec.path).expanduser() / "config.json" if spec.path else None
    key = file.stat().st_mtime_ns if file and file.is_file() else 0
    return _skeleton(key, json.dumps(_plain(spec)))


@lru_cache(maxsize=16)
def _skeleton(key: int, spec_json: str) -> Any:
    spec = ModelConfig(**json.loads(spec_json))
    config = architecture_config(spec)
    check_causal(config, spec.path or f"model={spec.name}")
    _check_layers(spec, config)
    try:
        with torch.device("meta"):
            return AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    except Exception as error:
        raise UserError(f"{spec.path or spec.name}: its config makes no model ({in_one_line(error)})") from error


def _check_layers(spec: ModelConfig, config: Any) -> None:
    """Raise UserError for more layers or experts than any model has: each is made, though without weights."""
    for key in MADE:
        count = getattr(config.get_text_config(), key, None)
        if isinstance(count, int) and count > MOST_LAYERS:
            raise UserError(
                f"{spec.path or f'model={spec.name}'}: {key}={count} is more than the {MOST_LAYERS} that can be; lower it"
            )


class Shapes(dict[str, tuple[int, int]]):
    """Shapes (out, in) of a model's linear layers but the output head, by module name."""

    def __init__(self, linear: Mapping[str, tuple[int, int]], model: torch.nn.Module | None = None):
        super().__init__(linear)
        self._model = model

    @cached_property
    def weights(self) -> dict[str, tuple[int, ...]]:
        """Shapes of all the model's parameters by name, tied ones once."""
        if self._model is None:
            return {f"{name}.weight": shape for name, shape in self.items()}
        return {name: tuple(p.shape) for name, p in self._model.named_parameters()}

    def skeleton(self) -> Any:
        """A copy of the model on the ``meta`` device, for what must be tried on one."""
        return copy.deepcopy(self._model)


def linear_shapes(spec: ModelConfig) -> Shapes:
    """The shapes of a model, without loading any weight."""
    model = skeleton(spec)
    shapes = {name: tuple(matrix(layer).shape) for name, layer in linear_layers(model).items()}
    return Shapes(shapes, model)  # type: ignore[arg-type]


def linear_layers(model: Any) -> dict[str, torch.nn.Module]:
    """A model's linear layers by name, but the output head: often tied to the input embeddings, so no layer to adapt."""
    head = model.get_output_embeddings()
    return {name: layer for name, layer in model.named_modules() if isinstance(layer, LINEAR) and layer is not head}


def matrix(layer: Any) -> torch.Tensor:
    """W [m, n] (out, in) of a linear layer: its weight, or a view of it where it holds Wᵀ; if quantised, the shape alone."""
    if not layer.weight.is_floating_point():
        return torch.empty(layer.out_features, layer.in_features, device="meta")
    return oriented(layer, layer.weight)


def oriented(layer: Any, weight: torch.Tensor) -> torch.Tensor:
    """What lies as a layer's weight does (its gradient, say), as [m, n]."""
    return weight.T if isinstance(layer, Conv1D) else weight


def decoder_layers(model: Any) -> torch.nn.ModuleList:
    """The decoder layers of a causal language model, with or without PEFT around it.

    Raises:
        UserError: they stand under no name that is known.
    """
    plain = model.get_base_model() if hasattr(model, "get_base_model") else model
    decoder = plain.get_decoder()
    layers = getattr(decoder, "layers", getattr(decoder, "h", None))
    if not isinstance(layers, torch.nn.ModuleList):
        raise UserError(f"{type(plain).__name__} has its decoder layers under no known name (layers, h)")
    return layers


def weight_bytes(spec: ModelConfig, dtype: torch.dtype) -> dict[str, int]:
    """Bytes of each weight by its name in a base that is loaded in this precision, without loading any."""
    sizes = {name: p.numel() for name, p in skeleton(spec).named_parameters()}
    width = {name: 4 if in_float32(name.rpartition(".")[0]) else dtype.itemsize for name in sizes}
    return {name: width[name] * size for name, size in sizes.items()}


def in_float32(module: str) -> bool:
    """Whether a module of a bfloat16 base stays in float32: as PiSSA's training code asks, before DeepSpeed casts all of it."""
    return module.endswith(("norm", "gate_proj"))


def _plain(spec: ModelConfig) -> dict[str, Any]:
    return {**vars(spec), "architecture": dict(spec.architecture)}
