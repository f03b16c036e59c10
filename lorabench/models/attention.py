"""Which attention a model runs with, and one for grouped queries on CPUs that does not copy keys and values for every head."""

import sys
from typing import Any

import torch
from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import sdpa_mask

NAME = "grouped_sdpa"
UNSERVED = ("softcap", "s_aux", "position_bias")
"""What layers pass that changes the scores and that torch's kernel cannot take: soft caps, sinks, biases of positions."""


def choose(config: Any, device: torch.device) -> str:
    """The attention that gives a model's own function: torch's kernel, or ``eager`` where that would drop a part of it.

    Args:
        config: transformers' of a causal language model.
        device: CPUs get ``grouped_sdpa``.
    """
    model = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
    takes = getattr(model, "_supports_sdpa", False)  # GPT-OSS does not: sinks
    capped = getattr(config.get_text_config(), "attn_logit_softcapping", None) is not None  # Gemma 2
    if not takes or capped:
        return "eager"
    of_its_own = any(name.endswith("_ATTENTION_CLASSES") for name in vars(sys.modules[model.__module__]))  # Falcon's own table
    return register() if device.type == "cpu" and not of_its_own else "sdpa"


def grouped_sdpa(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    is_causal: bool | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Softmax(QKᵀ·scaling + mask)V with each key head serving a group of query heads.

    Transformers repeats keys and values in memory wherever there is a mask, which on a CPU takes two thirds of a generation
    step; torch's CPU kernel needs no copies. (Its CUDA kernels refuse a mask here, so GPUs keep Transformers' own.)

    Args:
        module: the attention layer.
        query: [batch, heads, time, width].
        key: [batch, heads / group, past + time, width].
        value: as ``key``.
        attention_mask: true (or 0) where a query may look, [batch, 1, time, past + time]; None for plain causal attention.
        dropout: of the attention weights.
        scaling: None for 1 / √width.
        is_causal: None for the layer's own setting.
        kwargs: what other implementations take.

    Returns:
        [batch, time, heads, width] and None for the weights.

    Raises:
        ValueError: an argument that it would have to ignore, see ``UNSERVED``; ``choose`` knows the models that pass one.
    """
    if dropped := [name for name in UNSERVED if kwargs.get(name) is not None]:
        raise ValueError(f"{NAME} cannot take {dropped[0]}; the model needs eager attention")
    causal = getattr(module, "is_causal", True) if is_causal is None else is_causal
    output = torch.nn.functional.scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=attention_mask,
        dropout_p=dropout,
        scale=scaling,
        is_causal=causal and attention_mask is None and query.shape[2] > 1,
        enable_gqa=True,
    )
    return output.transpose(1, 2).contiguous(), None


def register() -> str:
    """Make the function known to Transformers, with the masks of its ``sdpa``; return its name."""
    AttentionInterface.register(NAME, grouped_sdpa)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    return NAME
