"""Keeps an adapted layer's output in the precision of the layer beneath it."""

from typing import Any

import torch
from peft import PeftModel

from lorabench.variants.base import adapter_layers


def keep_output_dtype(model: PeftModel) -> PeftModel:
    """Let every adapted layer return the dtype that its base layer would return, as PEFT's LoRA layers do by themselves.

    PEFT's newer layers return that of their input. Behind a float32 norm that is float32, so that in a bfloat16 model all
    that follows would run in another precision than the base, and slower. The hooks go with the layers.
    """
    for _, layer in adapter_layers(model):
        layer.register_forward_hook(_as_base)
    return model


def _as_base(layer: Any, _: Any, output: torch.Tensor) -> torch.Tensor:

    device = output.device.type
    if torch.is_autocast_enabled(device):
        return output.to(torch.get_autocast_dtype(device))
    weight = layer.get_base_layer().weight
    return output.to(weight.dtype) if weight.is_floating_point() else output  # a quantised layer gives what it computes in
