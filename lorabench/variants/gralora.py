"""GraLoRA: the weight is cut into k × k blocks, each with a low-rank update of its own."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from peft import GraloraConfig, PeftModel
from transformers import PreTrainedModel

from lorabench.errors import UserError
from lorabench.models.shapes import Shapes
from lorabench.training.calibration import Calibration
from lorabench.variants.adapter import Adapter
from lorabench.variants.base import adapter_layers
from lorabench.variants.layers.precision import keep_output_dtype
from lorabench.variants.lora import uniform


@dataclass(kw_only=True)
class GraLoRA(Adapter):
    """Block (i, j) of W, i, j < k, gets s·B_ij·A_ij of rank r/k, s = alpha / rank (Jung et al. 2025, arXiv 2505.20355).

    A_ij is [r/k, n/k] and starts ~ U(±√(k/n)), as in the authors' PEFT layer; B_ij is [m/k, r/k] and starts at 0. All k²
    pairs together hold r(m + n) values, as LoRA does, and their update has a rank up to k·r. k = 1 is LoRA.

    Attributes:
        k: blocks along each side of W; divides the rank and both dimensions.
    """

    version: ClassVar[int] = 1
    starts_on_quantised: ClassVar[bool] = True

    k: int

    def check(self, shapes: Shapes) -> None:
        """As for every variant; k must divide r, m and n."""
        super().check(shapes)
        if self.k < 1:
            raise UserError(f"variant.k={self.k} must be at least 1")
        if self.rank % self.k:
            raise UserError(f"variant.k={self.k} does not divide rank={self.rank}; change one of them")
        for name in self.targets(shapes):
            m, n = shapes[name]
            if m % self.k or n % self.k:
                raise UserError(f"variant.k={self.k} does not divide the shape of {name} ({m} x {n}); use another k")

    def peft_config(self) -> GraloraConfig:
        """PEFT's GraLoRA layers without the hybrid part; A is overwritten by ``attach``."""
        return GraloraConfig(
            r=self.rank,
            alpha=self.alpha,  # type: ignore[arg-type]
            gralora_k=self.k,
            hybrid_r=0,
            gralora_dropout=self.dropout,
            target_modules=list(self.target_modules),
            task_type="CAUSAL_LM",
        )

    def attach(self, model: PreTrainedModel, generator: torch.Generator, calibration: Calibration | None = None) -> PeftModel:
        """Add PEFT's layers and draw A; with k = 1 it is the A that LoRA draws."""
        adapted = keep_output_dtype(super().attach(model, generator, calibration))
        with torch.no_grad():
            for _, layer in adapter_layers(adapted):
                for block in layer.gralora_A["default"]:  # [n/k, r] of one group of inputs, for all k groups of outputs
                    columns = block.shape[0]
                    block.copy_(uniform(self.rank, columns, columns, generator).T)
        return adapted
