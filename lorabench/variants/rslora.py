"""rsLoRA: the scale keeps the update's size independent of the rank."""

import dataclasses
import math
from typing import ClassVar

from peft import LoraConfig

from lorabench.variants.lora import LoRA


class RsLoRA(LoRA):
    """LoRA with s = alpha / √rank (Kalajdzievski 2023, arXiv 2312.03732)."""

    version: ClassVar[int] = 1
    bilinear: ClassVar[bool] = True
    starts_on_quantised: ClassVar[bool] = True

    @property
    def scale(self) -> float:
        """s = alpha / √rank."""
        return self.alpha / math.sqrt(self.rank)

    def peft_config(self) -> LoraConfig:
        """PEFT's LoRA layers with ``use_rslora``."""
        return dataclasses.replace(super().peft_config(), lora_alpha=self.alpha, use_rslora=True)  # type: ignore[arg-type]
