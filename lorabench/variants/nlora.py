"""NLoRA: a trained matrix between the factors; all three start as parts of the weight, as in Nyström's approximation."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from peft import PeftModel
from transformers import PreTrainedModel

from lorabench.models.shapes import Shapes, matrix
from lorabench.training.calibration import Calibration
from lorabench.variants.base import adapter_layers
from lorabench.variants.layers.mixed import Mixed
from lorabench.variants.lora import LoRA


@dataclass(kw_only=True)
class NLoRA(LoRA):
    """y = (W + s·BNA)x, A = W[:r, :], N = W[:r, :r] and B = W[:, :r] at the start, all trained (arXiv 2502.14482).

    Guo et al. 2025: Nyström's approximation of W is B·N⁺·A of these; as in the authors' code, N is the block itself instead of
    its pseudoinverse, and W keeps the start: the function begins at W + s·BNA on purpose. It is saved as LoRA with the factors
    NA and B.

    >>> nlora = NLoRA(name="nlora", rank=2, alpha=4, dropout=0.0, target_modules=["q_proj"])
    >>> nlora.trainable_parameters({"layers.0.q_proj": (8, 6)})  # LoRA's 2·(8 + 6), and 2·2
    32
    """

    version: ClassVar[int] = 1

    def factors(self, name: str, weight: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, None]:
        """A [r, n], the first rows; the same for every seed."""
        return weight[: self.rank], None

    @torch.no_grad()
    def attach(self, model: PreTrainedModel, generator: torch.Generator, calibration: Calibration | None = None) -> PeftModel:
        """As for LoRA, with N after A, and B of the first columns beside an unchanged W."""
        adapted = super().attach(model, generator, calibration)
        for _, layer in adapter_layers(adapted):
            weight = matrix(layer.get_base_layer())
            layer.lora_B["default"].weight.copy_(weight[:, : self.rank])
            layer.lora_A["default"] = Mixed(layer.lora_A["default"].weight, weight[: self.rank, : self.rank].clone())
        return adapted

    def trainable_parameters(self, shapes: Shapes) -> int:
        """LoRA's, and N: Σ r(m + n) + r²."""
        return super().trainable_parameters(shapes) + self.rank**2 * len(self.targets(shapes))

    def save(self, model: PeftModel, path: Path) -> None:
        """Write plain LoRA of rank r, with NA in the place of A."""
        self.save_factors(model, path)
