"""SineLoRA: a sine of the low-rank product, which gives the update a high rank."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from peft import PeftModel
from transformers import PreTrainedModel

from lorabench.errors import UserError
from lorabench.models.shapes import Shapes
from lorabench.training.calibration import Calibration
from lorabench.variants.base import adapter_layers, save_merged
from lorabench.variants.layers.weight_update import WeightUpdate
from lorabench.variants.lora import LoRA


class Sine(WeightUpdate):
    """ΔW = s·sin(ω·BA) / √n, elementwise."""

    def __init__(self, frequency: float):
        """Take ω."""
        self.frequency = frequency

    def update(self, layer: Any) -> torch.Tensor:
        """ΔW [m, n]."""
        lora_A, lora_B = layer.lora_A["default"].weight.float(), layer.lora_B["default"].weight.float()
        return torch.sin(self.frequency * lora_B @ lora_A) * (layer.scaling["default"] / math.sqrt(layer.in_features))


@dataclass(kw_only=True)
class SineLoRA(LoRA):
    """y = (W + s·sin(ω·BA) / √n)x, the sine taken elementwise (Ji et al. 2024, arXiv 2403.19243).

    A and B start as in LoRA, so that the update starts as 0; it is made as a whole matrix [m, n] in each pass, and near 0 is
    LoRA's with the scale s·ω / √n. The gain √n is the authors' code's. No PEFT adapter holds it: merged weights are saved.

    Attributes:
        frequency: ω.
    """

    version: ClassVar[int] = 1
    starts_on_quantised: ClassVar[bool] = True

    frequency: float

    def check(self, shapes: Shapes) -> None:
        """As for LoRA; ω must be positive."""
        super().check(shapes)
        if not 0 < self.frequency < math.inf:
            raise UserError(f"variant.frequency={self.frequency} must be positive")

    def attach(self, model: PreTrainedModel, generator: torch.Generator, calibration: Calibration | None = None) -> PeftModel:
        """As for LoRA, with the sine in each layer."""
        adapted = super().attach(model, generator, calibration)
        for _, layer in adapter_layers(adapted):
            layer.lora_variant["default"] = Sine(self.frequency)
        return adapted

    def save(self, model: PeftModel, path: Path) -> None:
        """Write the merged weights."""
        save_merged(self.merged(model), path, f"variant={self.name} trains a sine of BA")
