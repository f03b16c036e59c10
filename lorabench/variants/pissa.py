"""PiSSA: the adapter starts as the principal part of the weight."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from lorabench.errors import UserError
from lorabench.models.shapes import Shapes
from lorabench.training import svd
from lorabench.variants.lora import LoRA


@dataclass(kw_only=True)
class PiSSA(LoRA):
    """W = UΣVᵀ; A = √(Σ_r/s)·V_rᵀ, B = U_r·√(Σ_r/s), W ← W − s·BA (Meng et al. 2024, arXiv 2404.02948, eq. 2-4).

    What stays frozen lacks the r largest singular values, and W − s·BA + s·BA is W:

    >>> weight = torch.randn(8, 6, generator=torch.Generator().manual_seed(0))
    >>> pissa = PiSSA(name="pissa", rank=2, alpha=4, dropout=0.0, target_modules=["q_proj"], iterations=None)
    >>> a, b = pissa.factors("q_proj", weight, torch.Generator())
    >>> frozen = weight - pissa.scale * b @ a
    >>> torch.allclose(torch.linalg.svdvals(frozen)[:4], torch.linalg.svdvals(weight)[2:], atol=1e-5)
    True

    Attributes:
        iterations: power iterations of the randomised SVD; None for the exact SVD.
    """

    version: ClassVar[int] = 1

    iterations: int | None

    def check(self, shapes: Shapes) -> None:
        """As for LoRA; the iterations must not be negative."""
        super().check(shapes)
        if self.iterations is not None and self.iterations < 0:
            raise UserError(f"variant.iterations={self.iterations} must be at least 0, or null for the exact SVD")

    def factors(self, name: str, weight: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """The r largest singular triples, split evenly over both factors; the same for every seed."""
        if self.iterations is None:
            triples = svd.from_cache(svd.largest, weight, rank=self.rank)
        else:
            triples = svd.from_cache(svd.randomized, weight, rank=self.rank, iterations=self.iterations)
        return svd.balanced(triples, self.scale)
