"""MiLoRA: the adapter starts as the minor part of the weight."""

from typing import ClassVar

import torch

from lorabench.training import svd
from lorabench.variants.lora import LoRA


class MiLoRA(LoRA):
    """W = UΣVᵀ; A = √(Σ/s)·Vᵀ, B = U·√(Σ/s) of the last r triples, W ← W − s·BA (Wang et al. 2024, arXiv 2406.09044)."""

    version: ClassVar[int] = 1

    def factors(self, name: str, weight: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """The r smallest singular triples, split evenly over both factors; the same for every seed."""
        return svd.balanced(svd.from_cache(svd.smallest, weight, rank=self.rank), self.scale)
