"""A bottleneck with a nonlinearity beside a sublayer, as a forward hook, so that the base's weights keep their names."""

from collections.abc import Callable
from typing import Any

import torch
from torch.nn.utils import skip_init
from torch.utils.hooks import RemovableHandle

ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "relu": torch.nn.functional.relu,
    "gelu": torch.nn.functional.gelu,
}
CHILD = "bottleneck"
"""Its name in the module beside which it is."""


class Bottleneck(torch.nn.Module):
    """x ↦ s·(W_up f(W_down x + b_down) + b_up), with W_down [r, d] and W_up [d, r] in float32.

    It is added to the output of the module that it is put beside: of the output itself, or of the module's input.
    """

    def __init__(self, down: torch.Tensor, activation: str, scale: float, of_input: bool):
        """Take W_down's start; W_up and both biases start at 0.

        Args:
            down: [r, d].
            activation: f, a key of ``ACTIVATIONS``.
            scale: s.
            of_input: whether x is the module's input, not its output.
        """
        super().__init__()
        rank, width = down.shape
        self.activation, self.scale, self.of_input = ACTIVATIONS[activation], scale, of_input
        # Not drawn by torch's global generator, as torch.nn.Linear's own start would be.
        self.down = skip_init(torch.nn.Linear, width, rank, device=down.device)
        self.up = skip_init(torch.nn.Linear, rank, width, device=down.device)
        self.handle: RemovableHandle | None = None
        with torch.no_grad():
            self.down.weight.copy_(down)
            for zeros in (self.down.bias, self.up.weight, self.up.bias):
                zeros.zero_()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The change [..., d] of x [..., d]."""
        return self.scale * self.up(self.activation(self.down(x.to(self.down.weight.dtype))))

    def put_beside(self, module: torch.nn.Module) -> None:
        """Become the module's child, and change what it returns."""
        module.add_module(CHILD, self)
        self.handle = module.register_forward_hook(self._added)

    def take_out(self, module: torch.nn.Module) -> None:
        """Undo ``put_beside``."""
        assert self.handle is not None, "it is beside no module"
        self.handle.remove()
        delattr(module, CHILD)

    def _added(self, module: torch.nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        """The output with the change; of a tuple (attention gives its weights, too), the first of it."""
        hidden, *others = output if isinstance(output, tuple) else (output,)
        # In the precision that the sublayer gives, so that all that follows runs as in the base.
        changed = hidden + self(args[0] if self.of_input else hidden).to(hidden.dtype)
        return (changed, *others) if isinstance(output, tuple) else changed
