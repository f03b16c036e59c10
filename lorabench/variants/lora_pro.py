"""LoRA-Pro: AdamW's moments live in the full matrix; A and B together follow its step as nearly as they can."""

from dataclasses import dataclass
from typing import Any, ClassVar

from peft import PeftModel

from lorabench.errors import UserError
from lorabench.models.shapes import Shapes
from lorabench.variants.base import adapter_layers
from lorabench.variants.lora import LoRA
from lorabench.variants.optimizers.lora_pro import LoRAProAdamW


@dataclass(kw_only=True)
class LoRAPro(LoRA):
    """y = (W + s·BA)x, started as LoRA; s·(B ΔA + ΔB A) is nearest to AdamW's step on W (Wang et al. 2024, arXiv 2407.18242).

    The equations are in ``optimizers.lora_pro``. The state of the optimizer is that of full fine-tuning.

    Attributes:
        damping: ε in (BᵀB + εI)⁻¹ and (AAᵀ + εI)⁻¹.
    """

    version: ClassVar[int] = 1

    damping: float

    def check(self, shapes: Shapes) -> None:
        """As for LoRA, with a damping above 0: at the start BᵀB = 0."""
        super().check(shapes)
        if not self.damping > 0:
            raise UserError(f"variant.damping={self.damping} must be greater than 0")

    def optimizer(self, model: PeftModel, lr: float, **adamw: Any) -> LoRAProAdamW:
        """LoRA-Pro's AdamW over the pairs of factors."""
        pairs = [(layer.lora_A["default"].weight, layer.lora_B["default"].weight) for _, layer in adapter_layers(model)]
        return LoRAProAdamW(pairs, lr, self.scale, **adamw | {"damping": self.damping})

    def optimizer_bytes(self, shapes: Shapes) -> int:
        """Float32 state: AdamW's two moments of every adapted matrix, Σ 8·m·n."""
        return sum(8 * m * n for m, n in (shapes[name] for name in self.targets(shapes)))
