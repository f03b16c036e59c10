"""A banded matrix between frozen singular vectors, in the place of one of PEFT's factors."""

import torch
from torch.nn.functional import linear


class Banded(torch.nn.Module):
    """z ↦ U(Mz) with U [m, k] frozen and M [k, k] trained on its 2d + 1 middle diagonals; ``weight`` is UM, which PEFT merges.

    M's values lie one diagonal after another, from −d (below the main one) to d, each from its top: k(2d + 1) − d(d + 1).
    """

    def __init__(self, left: torch.Tensor, off_diagonals: int):
        """Take U and d; M starts at 0."""
        super().__init__()
        k = left.shape[1]
        self.offsets = range(-off_diagonals, off_diagonals + 1)
        self.lengths = [k - abs(offset) for offset in self.offsets]
        self.left = torch.nn.Parameter(left, requires_grad=False)
        self.values = torch.nn.Parameter(left.new_zeros(sum(self.lengths)))

    @property
    def weight(self) -> torch.Tensor:
        """UM [m, k] in its own precision."""
        diagonals = zip(self.offsets, self.values.split(self.lengths), strict=True)
        with torch.autocast(self.left.device.type, enabled=False):
            return self.left @ torch.stack([torch.diag(values, offset) for offset, values in diagonals]).sum(0)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """UMz [..., m] of z [..., k]; M is never filled with its zeros."""
        mixed = torch.zeros_like(z)
        for offset, values in zip(self.offsets, self.values.split(self.lengths), strict=True):
            row, column, length = max(0, -offset), max(0, offset), len(values)
            # Row i of M has its value of this diagonal in column i + offset.
            mixed[..., row : row + length] += values * z[..., column : column + length]
        return linear(mixed, self.left)
