"""A block-diagonal factor in the place of one of PEFT's."""

import torch


class BlockDiagonal(torch.nn.Module):
    """x ↦ diag(F_1 … F_k)x with F_i [p, q] trained; ``weight`` is the whole matrix [kp, kq], which PEFT merges."""

    def __init__(self, blocks: torch.Tensor):
        """Take the blocks' start [k, p, q]."""
        super().__init__()
        self.blocks = torch.nn.Parameter(blocks)

    @property
    def weight(self) -> torch.Tensor:
        """The matrix [kp, kq]; zeros outside the blocks."""
        return torch.block_diag(*self.blocks)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Block i of the output [..., kp] is F_i times part i of x [..., kq]."""
        k, _, q = self.blocks.shape
        return torch.einsum("...kq,kpq->...kp", x.unflatten(-1, (k, q)), self.blocks).flatten(-2)
