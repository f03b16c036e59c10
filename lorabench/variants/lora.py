"""LoRA: a low-rank update beside the frozen weight."""

import math
from typing import TYPE_CHECKING, Any

from lorabench.variants.base import Variant, adapter_layers

if TYPE_CHECKING:
    import torch
    from peft import LoraConfig, PeftModel
    from transformers import PreTrainedModel


class LoRA(Variant):
    """y = (W + s·BA)x with s = alpha / rank, A ~ U(±1/√n), B = 0 (Hu et al. 2021, arXiv 2106.09685).

    Subclasses that differ only in the start override ``factors``. The bound 1/√n is the Kaiming uniform one with a = √5,
    as in the authors' code and in PEFT.
    """

    @property
    def scale(self) -> float:
        """s = alpha / rank."""
        return self.alpha / self.rank

    def peft_config(self) -> "LoraConfig":
        """PEFT's LoRA layers; the factors are overwritten by ``attach``."""
        from peft import LoraConfig

        return LoraConfig(
            r=self.rank,
            lora_alpha=self.alpha,
            lora_dropout=self.dropout,
            target_modules=list(self.target_modules),
            task_type="CAUSAL_LM",
        )

    def factors(
        self, name: str, weight: "torch.Tensor", generator: "torch.Generator", calibration: Any
    ) -> "tuple[torch.Tensor, torch.Tensor | None]":
        """Initial factors of one matrix.

        Args:
            name: the matrix's module name in the base.
            weight: W [m, n] in float32.
            generator: the only source of randomness.
            calibration: what ``attach`` was given.

        Returns:
            A [r, n] and B [m, r]; B = None stands for zeros. With B given, W is replaced by W − s·BA.
        """
        return uniform(self.rank, weight.shape[1], weight.shape[1], generator), None

    def attach(self, model: "PreTrainedModel", generator: "torch.Generator", calibration: Any = None) -> "PeftModel":
        """Add PEFT's LoRA layers, set their factors, and take s·BA out of the base so that the function is unchanged."""
        import torch

        adapted = super().attach(model, generator, calibration)
        with torch.no_grad():
            for name, layer in adapter_layers(adapted):
                base = layer.get_base_layer().weight
                lora_A, lora_B = layer.lora_A["default"].weight, layer.lora_B["default"].weight
                weight = base.float()
                a, b = self.factors(name, weight, generator, calibration)
                lora_A.copy_(a)
                if b is not None:
                    lora_B.copy_(b)
                    # From the stored factors, not from a and b: rounding them must not move the start.
                    base.copy_(weight - self.scale * lora_B.float() @ lora_A.float())
        return adapted


def uniform(rows: int, columns: int, fan_in: int, generator: "torch.Generator") -> "torch.Tensor":
    """Draw a [rows, columns] matrix from U(−1/√fan_in, 1/√fan_in)."""
    import torch

    return (2 * torch.rand(rows, columns, generator=generator) - 1) / math.sqrt(fan_in)
