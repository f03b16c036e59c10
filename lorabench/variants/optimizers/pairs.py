"""What the optimizers of pairs of low-rank factors share."""

from collections.abc import Callable, Sequence
from typing import Any

import torch

Pair = tuple[torch.Tensor, torch.Tensor]
"""lora_A [r, n] and lora_B [m, r] of a matrix."""


def factors_of(pairs: Sequence[Pair]) -> list[torch.Tensor]:
    """All factors, A before B in each pair: the parameters of a group."""
    return [factor for pair in pairs for factor in pair]


def evaluated(closure: Callable[[], Any] | None) -> Any:
    """The loss of the closure that torch's ``step`` may be given, with gradients; None without one."""
    if closure is None:
        return None
    with torch.enable_grad():
        return closure()
