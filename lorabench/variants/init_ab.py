"""Init[AB]: both factors start at random."""

from typing import ClassVar

import torch

from lorabench.variants.lora import LoRA, uniform


class InitAB(LoRA):
    """A and B both ~ U(±1/√n), n the input size, W ← W − s·BA (Li et al. 2025, arXiv 2505.23194, as paper 1's runs start).

    B takes its bound from the matrix's input size n too, not from its own fan-in r.
    """

    version: ClassVar[int] = 1

    def factors(self, name: str, weight: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Two independent draws, A first."""
        m, n = weight.shape
        return uniform(self.rank, n, n, generator), uniform(m, self.rank, n, generator)
