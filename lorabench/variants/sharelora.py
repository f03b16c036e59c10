"""ShareLoRA: one A, one B, or both, for all matrices of the same name."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from peft import PeftModel
from transformers import PreTrainedModel

from lorabench.errors import UserError
from lorabench.models.shapes import Shapes
from lorabench.training.calibration import Calibration
from lorabench.variants.layers.shared import groups, layer_groups
from lorabench.variants.lora import LoRA

SHARED = ("A", "B", "AB")


@dataclass(kw_only=True)
class ShareLoRA(LoRA):
    """y_l = (W_l + s·B_lA)x, one trained A for the matrices of one name in all blocks l (Song et al. 2024, arXiv 2406.10785).

    A and B start as in LoRA. With ``share`` B, or AB, it is B, or both, that is one for all. It is saved as plain LoRA.

    >>> method = ShareLoRA(name="sharelora", rank=2, alpha=4, dropout=0.0, target_modules=["q_proj"], share="A")
    >>> method.trainable_parameters({"layers.0.q_proj": (8, 6), "layers.1.q_proj": (8, 6)})  # 2·6 once, 2·8 twice
    44

    Attributes:
        share: what is shared, ``A``, ``B`` or ``AB``.
    """

    version: ClassVar[int] = 1
    starts_on_quantised: ClassVar[bool] = True

    share: str

    def check(self, shapes: Shapes) -> None:
        """As for LoRA; ``share`` must be one of those that there are."""
        super().check(shapes)
        if self.share not in SHARED:
            raise UserError(f"variant.share={self.share} is unknown; available: {', '.join(SHARED)}")

    def attach(self, model: PreTrainedModel, generator: torch.Generator, calibration: Calibration | None = None) -> PeftModel:
        """As for LoRA, with the first layer's factor in all of its group."""
        adapted = super().attach(model, generator, calibration)
        for first, *others in layer_groups(adapted):
            for layer in others:
                for factor in self.share:
                    getattr(layer, f"lora_{factor}")["default"].weight = getattr(first, f"lora_{factor}")["default"].weight
        return adapted

    def trainable_parameters(self, shapes: Shapes) -> int:
        """Number of values of what is shared, once a group, and of what is not, in each matrix."""
        total = 0
        for names in groups(self.targets(shapes), shapes):
            m, n = shapes[names[0]]
            total += self.rank * (n * (1 if "A" in self.share else len(names)) + m * (1 if "B" in self.share else len(names)))
        return total
