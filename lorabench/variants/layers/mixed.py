"""A product of two matrices in the place of one of PEFT's factors."""

import torch
from torch.nn.functional import linear


class Mixed(torch.nn.Module):
    """x ↦ M(Fx), with F [q, n] and M [p, q], either of them trained or frozen; ``weight`` is MF [p, n], which PEFT merges.

    In MoSLoRA F is A and M [r, r] the mixer.
    """

    def __init__(self, factor: torch.Tensor, mixer: torch.Tensor):
        """Take F as it is, a parameter or values, and M's start."""
        super().__init__()
        self.factor = factor if isinstance(factor, torch.nn.Parameter) else torch.nn.Parameter(factor)
        self.mixer = torch.nn.Parameter(mixer.to(factor))

    @property
    def weight(self) -> torch.Tensor:
        """MF [p, n] in the factors' own precision."""
        with torch.autocast(self.factor.device.type, enabled=False):
            return self.mixer @ self.factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """MFx [..., p] of x [..., n]."""
        return linear(linear(x, self.factor), self.mixer)
