"""Small random models of families whose linear layers are not Llama's seven, by name."""

import copy
from functools import cache

import torch

from lorabench.models.base import Base
from lorabench.models.load import load
from lorabench.schema import ModelConfig

SIZES = {"vocab_size": 512, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "initializer_range": 0.2}
GROUPED = SIZES | {"intermediate_size": 48, "num_key_value_heads": 2}
TOKENS = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
FAMILIES = {
    "gpt2": {"vocab_size": 512, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 512, "initializer_range": 0.2} | TOKENS,
    "gpt_neox": SIZES | {"intermediate_size": 48, "max_position_embeddings": 512},
    "opt": {
        **{key: SIZES[key] for key in ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads")},
        **{"ffn_dim": 48, "word_embed_proj_dim": 32, "max_position_embeddings": 512, "init_std": 0.2, **TOKENS},
    },
    "phi3": GROUPED | TOKENS | {"max_position_embeddings": 512, "original_max_position_embeddings": 512},
    "falcon": SIZES | TOKENS,
    "bloom": {"vocab_size": 512, "hidden_size": 32, "n_layer": 2, "n_head": 4, "initializer_range": 0.2} | TOKENS,
    "qwen2": GROUPED,
    "gemma3_text": GROUPED | {"head_dim": 16, "query_pre_attn_scalar": 16, "sliding_window": 8},
    "mixtral": GROUPED | {"num_local_experts": 4},
    "qwen3_moe": GROUPED | {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16, "head_dim": 8},
    "gpt_oss": GROUPED | TOKENS | {"num_local_experts": 4, "num_experts_per_tok": 2, "head_dim": 8, "sliding_window": 8},
}
DENSE = [name for name in FAMILIES if not {"num_experts", "num_local_experts"} & FAMILIES[name].keys()]
EXPERTS = [name for name in FAMILIES if name not in DENSE]


def spec_of(name: str) -> ModelConfig:
    """Its settings, of random weights."""
    return ModelConfig(name=name, weights="random", architecture={"model_type": name} | FAMILIES[name])


@cache
def _loaded(name: str) -> Base:
    return load(spec_of(name), torch.device("cpu"), torch.float32)


def fresh_of(name: str) -> Base:
    """One of its own, whose weights may be changed."""
    base = _loaded(name)
    return Base(base.spec, copy.deepcopy(base.model), base.tokenizer, base.device)
