"""Small models of the families that the studies use, and a dense Hessian to compare with."""

from functools import lru_cache
from pathlib import Path

import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch.nn.attention import SDPBackend, sdpa_kernel

from lorabench import schema
from lorabench.cells.session import current
from lorabench.models.load import load
from lorabench.schema import ModelConfig

CONF = Path(__file__).resolve().parents[2] / "conf"
SHAPE = {
    "vocab_size": 512,
    "hidden_size": 24,
    "intermediate_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "initializer_range": 0.25,  # large enough for curvature that rounding does not hide
}
FAMILIES = {
    "llama": {"model_type": "llama"},
    "qwen3": {"model_type": "qwen3", "head_dim": 16},
    "gemma3": {
        "model_type": "gemma3_text",
        "head_dim": 16,
        "query_pre_attn_scalar": 16,
        "sliding_window": 4,
        "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
    },
}
MATRICES = {
    "q_proj": "self_attn",
    "k_proj": "self_attn",
    "v_proj": "self_attn",
    "o_proj": "self_attn",
    "gate_proj": "mlp",
    "up_proj": "mlp",
    "down_proj": "mlp",
}
# Prompt and answer lengths that differ much; the last sequence has no target at all.
LENGTHS = ((9, 4), (14, 2), (5, 1), (11, 10), (6, 6))


@lru_cache
def family(name):
    """A base of random weights; frozen, so that tests can share it."""
    spec = ModelConfig(name=name, weights="random", dtype="float32", architecture=SHAPE | FAMILIES[name])
    base = load(spec, torch.device("cpu"), torch.float32)
    for parameter_name, parameter in base.model.named_parameters():
        if "norm" in parameter_name:  # norms of one would hide a lost scale
            parameter.data += 0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
    return base


def full_name(layer, matrix):
    return f"model.layers.{layer}.{MATRICES[matrix]}.{matrix}"


def dense(base, examples, name, weight_of, start):
    """Hessian [size, size] by autograd of the unpadded mean loss, when the matrix ``name`` is ``weight_of(θ)``."""
    return _dense(base.model, examples, lambda theta: {f"{name}.weight": weight_of(theta)}, start)


def dense_through(model, examples, tensors):
    """Hessian [size, size] by autograd of the unpadded mean loss of an adapted model in some of its parameters."""
    names = [next(name for name, p in model.named_parameters() if p is tensor) for tensor in tensors]

    def values_of(theta):
        parts = theta.split([tensor.numel() for tensor in tensors])
        return {name: part.view(tensor.shape) for name, part, tensor in zip(names, parts, tensors, strict=True)}

    return _dense(model, examples, values_of, torch.cat([tensor.detach().flatten() for tensor in tensors]))


def _dense(model, examples, values_of, start):
    total = sum(example.target_tokens for example in examples)

    def loss(theta):
        result = 0.0
        for example in examples:
            if not example.target_tokens:
                continue
            ids = torch.tensor([example.ids])
            out = torch.func.functional_call(model, values_of(theta), kwargs={"input_ids": ids})
            logits = out.logits[0, example.prompt_length - 1 : -1]
            result = result + torch.nn.functional.cross_entropy(logits, ids[0, example.prompt_length :], reduction="sum")
        return result / total

    with sdpa_kernel(SDPBackend.MATH):
        return torch.autograd.functional.hessian(loss, start)


def variant(name, rank, **fields):
    """A variant as its yaml has it, with other fields where given."""
    schema.register()
    with initialize_config_dir(str(CONF), version_base=None):
        node = OmegaConf.to_container(compose("config", [f"variant={name}", f"rank={rank}"]).variant, resolve=True)
    return instantiate(node | fields, _convert_="all")


def study_of(folder, *words, searchpath=()):
    """The study of a command line, with everything that its construction checks."""
    from hessian.__main__ import compose_config
    from hessian.study.study import Study

    with initialize_config_dir(str(CONF), version_base="1.3"):
        study = Study(compose_config([f"output_dir={folder}", *words]), current(), searchpath)
        assert study.methods and study.places
    return study
