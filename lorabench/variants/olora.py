"""OLoRA: the adapter starts with orthonormal columns in B."""

from typing import ClassVar

import torch

from lorabench.variants.lora import LoRA


class OLoRA(LoRA):
    """W = QR; A = R[:r], B = Q[:, :r], W ← W − s·BA (Büyükakyüz 2024, arXiv 2406.01775)."""

    version: ClassVar[int] = 1

    def factors(self, name: str, weight: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """The leading part of the QR decomposition; the same for every seed.

        Householder's method works column by column: Q[:, :r] comes from the first r columns alone, and R[:r] = Q[:, :r]ᵀW.
        That takes O(mnr) operations, so nothing is cached.
        """
        q, r = torch.linalg.qr(weight[:, : self.rank])
        return torch.cat([r, q.T @ weight[:, self.rank :]], dim=1), q
