"""DoRA: magnitude and direction of every output row are trained apart."""

import dataclasses
from typing import TYPE_CHECKING

from lorabench.variants.lora import LoRA

if TYPE_CHECKING:
    from peft import LoraConfig


class DoRA(LoRA):
    """y = (g / ‖W + s·BA‖_row)·(W + s·BA)x with g = ‖W‖_row at the start (Liu et al. 2024, arXiv 2402.09353).

    g [m] is trained; the norm in the denominator is a constant for the gradient (their section 4.3).
    """

    def peft_config(self) -> "LoraConfig":
        """PEFT's LoRA layers with ``use_dora``."""
        return dataclasses.replace(super().peft_config(), use_dora=True)
