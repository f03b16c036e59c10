"""MoSLoRA: a trained mixer between the two factors."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from peft import PeftModel
from transformers import PreTrainedModel

from lorabench.errors import UserError
from lorabench.models.shapes import Shapes
from lorabench.training.calibration import Calibration
from lorabench.variants.base import adapter_layers
from lorabench.variants.layers.mixed import Mixed
from lorabench.variants.lora import LoRA, uniform

STARTS = ("kaiming", "orthogonal")


@dataclass(kw_only=True)
class MoSLoRA(LoRA):
    """y = (W + s·BMA)x, the mixer M [r, r] trained with A and B (Wu et al. 2024, arXiv 2406.11909).

    A and B start as in LoRA, M ~ U(±1/√r) (Kaiming uniform with a = √5) or a random orthogonal matrix. M, A and B learn at one
    rate. It is saved as LoRA with the factors MA and B.

    >>> method = MoSLoRA(name="moslora", rank=2, alpha=4, dropout=0.0, target_modules=["q_proj"], mixer="kaiming")
    >>> method.trainable_parameters({"layers.0.q_proj": (8, 6)})  # LoRA's 2·(8 + 6), and 2·2
    32

    Attributes:
        mixer: M's start, ``kaiming`` or ``orthogonal``.
    """

    version: ClassVar[int] = 1
    starts_on_quantised: ClassVar[bool] = True
    bilinear: ClassVar[bool] = False

    mixer: str

    def check(self, shapes: Shapes) -> None:
        """As for LoRA; the mixer's start must be one of those that there are."""
        super().check(shapes)
        if self.mixer not in STARTS:
            raise UserError(f"variant.mixer={self.mixer} is unknown; available: {', '.join(STARTS)}")

    def attach(self, model: PreTrainedModel, generator: torch.Generator, calibration: Calibration | None = None) -> PeftModel:
        """As for LoRA, with a mixer after each A."""
        adapted = super().attach(model, generator, calibration)
        for _, layer in adapter_layers(adapted):
            mixer = uniform(self.rank, self.rank, self.rank, generator)
            if self.mixer == "orthogonal":
                torch.nn.init.orthogonal_(mixer, generator=generator)
            layer.lora_A["default"] = Mixed(layer.lora_A["default"].weight, mixer)
        return adapted

    def trainable_parameters(self, shapes: Shapes) -> int:
        """LoRA's, and M: Σ r(m + n) + r²."""
        return super().trainable_parameters(shapes) + self.rank**2 * len(self.targets(shapes))

    def save(self, model: PeftModel, path: Path) -> None:
        """Write plain LoRA of rank r, with MA in the place of A."""
        self.save_factors(model, path)
