"""A factor of several parts, any of them shared between layers, with trained scales of its rows."""

from collections.abc import Sequence

import torch
from torch.nn.functional import linear


class Stacked(torch.nn.Module):
    """x ↦ diag(e)·[P_1; P_2; …]x, or of parts side by side; ``weight`` is the whole matrix, which PEFT merges.

    Parts are taken as they are: two layers with the same parameter share it.
    """

    def __init__(self, parts: Sequence[torch.nn.Parameter], scale: torch.Tensor | None = None, dim: int = 0):
        """Take the parts, joined along ``dim``, and the start of e, one for each row, which is copied; None for no scales."""
        super().__init__()
        self.parts = torch.nn.ParameterList(parts)
        self.scale = None if scale is None else torch.nn.Parameter(scale.to(parts[0], copy=True))
        self.dim = dim

    @property
    def joined(self) -> torch.Tensor:
        """The parts as one matrix."""
        return torch.cat(list(self.parts), dim=self.dim) if len(self.parts) > 1 else self.parts[0]

    @property
    def weight(self) -> torch.Tensor:
        """The whole matrix in the parts' own precision."""
        with torch.autocast(self.parts[0].device.type, enabled=False):
            return self.joined if self.scale is None else self.scale[:, None] * self.joined

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The product [..., rows] with x [..., columns]."""
        product = linear(x, self.joined)
        return product if self.scale is None else product * self.scale.to(product.dtype)
