"""DoRA: magnitude and direction of every output row are trained apart."""

import dataclasses
from typing import ClassVar

import torch
from peft import LoraConfig, PeftModel
from transformers import PreTrainedModel

from lorabench.models.shapes import Shapes, matrix
from lorabench.training.calibration import Calibration
from lorabench.variants.base import adapter_layers
from lorabench.variants.layers.dora import Float32Magnitude
from lorabench.variants.lora import LoRA


class DoRA(LoRA):
    """y = (g / ‖W + s·BA‖_row)·(W + s·BA)x with g = ‖W‖_row at the start (Liu et al. 2024, arXiv 2402.09353).

    g [m] is trained; the norm in the denominator is a constant for the gradient (their section 4.3). A and B start as in
    LoRA. g and the norm are float32 also beside a bfloat16 base, so that g / ‖W‖_row is exactly 1 at the start.

    >>> dora = DoRA(name="dora", rank=2, alpha=4, dropout=0.0, target_modules=["q_proj"])
    >>> dora.trainable_parameters({"layers.0.q_proj": (8, 6)})  # LoRA's 2·(8 + 6), and one number for each of 8 rows
    36
    """

    version: ClassVar[int] = 1
    bilinear: ClassVar[bool] = False

    def peft_config(self) -> LoraConfig:
        """PEFT's LoRA layers with ``use_dora``."""
        return dataclasses.replace(super().peft_config(), use_dora=True)

    def attach(self, model: PreTrainedModel, generator: torch.Generator, calibration: Calibration | None = None) -> PeftModel:
        """As for LoRA, with g and the norm in float32."""
        adapted = super().attach(model, generator, calibration)
        for _, layer in adapter_layers(adapted):
            lora_A, lora_B = (factor["default"].weight.detach().float() for factor in (layer.lora_A, layer.lora_B))
            whole = matrix(layer.get_base_layer()).float() + self.scale * lora_B @ lora_A
            layer.lora_magnitude_vector["default"] = Float32Magnitude(whole, layer.fan_in_fan_out)
        return adapted

    def trainable_parameters(self, shapes: Shapes) -> int:
        """LoRA's, and g: Σ r(m + n) + m."""
        return super().trainable_parameters(shapes) + sum(shapes[name][0] for name in self.targets(shapes))
