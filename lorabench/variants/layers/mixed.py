"""MoSLoRA's product of mixer and A in the place of PEFT's A."""

import torch
from torch.nn.functional import linear


class Mixed(torch.nn.Module):
    """x ↦ M(Ax), with M [r, r] and A [r, n] trained; ``weight`` is MA [r, n], which PEFT merges."""

    def __init__(self, lora_A: torch.nn.Parameter, mixer: torch.Tensor):
        """Take A as it is, and M's start."""
        super().__init__()
        self.factor = lora_A
        self.mixer = torch.nn.Parameter(mixer.to(lora_A))

    @property
    def weight(self) -> torch.Tensor:
        """MA [r, n] in the factors' own precision."""
        with torch.autocast(self.factor.device.type, enabled=False):
            return self.mixer @ self.factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """MAx [..., r] of x [..., n]."""
        return linear(linear(x, self.factor), self.mixer)
