"""rsLoRA: the scale keeps the update's size independent of the rank."""

import dataclasses
import math
from typing import TYPE_CHECKING

from lorabench.variants.lora import LoRA

if TYPE_CHECKING:
    from peft import LoraConfig


class RsLoRA(LoRA):
    """LoRA with s = alpha / √rank (Kalajdzievski 2023, arXiv 2312.03732)."""

    @property
    def scale(self) -> float:
        """s = alpha / √rank."""
        return self.alpha / math.sqrt(self.rank)

    def peft_config(self) -> "LoraConfig":
        """PEFT's LoRA layers with ``use_rslora``."""
        return dataclasses.replace(super().peft_config(), use_rslora=True)
