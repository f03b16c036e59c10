"""ReLoRA: the update is merged into W at restarts, and the factors start anew."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from peft import PeftModel

from lorabench.errors import UserError
from lorabench.models.shapes import Shapes, matrix
from lorabench.variants.base import adapter_layers
from lorabench.variants.lora import LoRA, uniform


@dataclass(kw_only=True)
class ReLoRA(LoRA):
    """y = (W + s·BA)x; at restarts W ← W + s·BA, A ~ U(±1/√n), B = 0 (Lialin et al. 2023, arXiv 2307.05695).

    A run of T steps restarts before steps ⌊iT / (restarts + 1)⌋, i = 1 … restarts: the update can have rank (restarts + 1)·r.
    There, each of AdamW's moments loses its smallest values, or all; its count of steps goes on, as in the authors' code. Step
    k of a cycle of c steps has k / ⌈restart_warmup · c⌉ of the learning rate that it would have, until that is 1 (their "jagged
    cosine"): 0 at a restart. Their full-rank warm start is the pretrained model. Beside a bfloat16 base each merge rounds W.

    >>> fields = {"alpha": 4, "dropout": 0.0, "target_modules": ["q_proj"], "pruning": 1, "restart_warmup": 0.2}
    >>> relora = ReLoRA(name="relora", rank=2, restarts=3, **fields)
    >>> relora.starts(20), [relora.rate(step, 20) for step in range(4, 8)]
    ([0, 5, 10, 15], [1.0, 0.0, 1.0, 1.0])

    Attributes:
        restarts: how often W takes the update in; 0 is LoRA.
        pruning: share of each moment's values, the smallest, that a restart sets to 0.
        restart_warmup: share of a cycle over which the learning rate rises from 0 after a restart.
    """

    version: ClassVar[int] = 1
    merges_while_training: ClassVar[bool] = True

    restarts: int
    pruning: float
    restart_warmup: float

    def check(self, shapes: Shapes) -> None:
        """As for LoRA; numbers and shares must be such."""
        super().check(shapes)
        if self.restarts < 0:
            raise UserError(f"variant.restarts={self.restarts} must be at least 0")
        if not 0 <= self.pruning <= 1:
            raise UserError(f"variant.pruning={self.pruning} must lie in [0, 1]")
        if not 0 <= self.restart_warmup < 1:
            raise UserError(f"variant.restart_warmup={self.restart_warmup} must lie in [0, 1)")

    def check_steps(self, total: int) -> None:
        """Each cycle must hold two steps: the first has learning rate 0."""
        if self.restarts and total < 2 * (self.restarts + 1):
            raise UserError(
                f"variant.restarts={self.restarts} needs at least {2 * (self.restarts + 1)} steps, and the run has {total}; "
                f"use variant.restarts={max(0, total // 2 - 1)} at the most, or more samples or epochs"
            )

    def starts(self, total: int) -> list[int]:
        """The steps before which a cycle starts, in a run of ``total`` steps."""
        return [number * total // (self.restarts + 1) for number in range(self.restarts + 1)]

    def rate(self, step: int, total: int) -> float:
        """The learning rate of a step as a share of what it would be without restarts."""
        start = max(first for first in self.starts(total) if first <= step)
        warmup = math.ceil(self.restart_warmup * total / (self.restarts + 1))
        return min(1.0, (step - start) / warmup) if start and warmup else 1.0

    def before_step(self, model: PeftModel, optimizer: torch.optim.Optimizer, step: int, total: int) -> None:
        """Restart where a cycle starts, and lower the learning rate after it."""
        if step in self.starts(total)[1:]:
            self.restart(model)
            prune(optimizer, self.pruning)
        for group in optimizer.param_groups:
            group["lr"] *= self.rate(step, total)

    @torch.no_grad()
    def restart(self, model: PeftModel) -> None:
        """Merge s·BA into W, draw A from torch's global generator, which checkpoints keep, and set B = 0."""
        for name, layer in adapter_layers(model):
            weight = matrix(layer.get_base_layer())
            lora_A, lora_B = layer.lora_A["default"].weight, layer.lora_B["default"].weight
            weight.copy_(weight.float() + self.scale * lora_B.float() @ lora_A.float())
            a, b = lora_A.to("cpu", copy=True), -lora_B.cpu()
            if name in self.initial:
                a, b = torch.cat([self.initial[name][0], a]), torch.cat([self.initial[name][1], b], dim=1)
            self.initial[name] = a, b  # the base is W − s·B₀A₀ with these
            n = lora_A.shape[1]
            lora_A.copy_(uniform(self.rank, n, n, torch.default_generator))
            lora_B.zero_()

    def state(self, model: PeftModel) -> dict[str, Any]:
        """The merged factors; W is in the checkpoint itself."""
        return {"initial": {name: list(pair) for name, pair in self.initial.items()}}

    def load_state(self, model: PeftModel, state: dict[str, Any]) -> None:
        """Take the merged factors up again."""
        self.initial.update({name: (a, b) for name, (a, b) in state["initial"].items()})


@torch.no_grad()
def prune(optimizer: torch.optim.Optimizer, share: float) -> None:
    """Set the smallest values, in magnitude, of each moment of each parameter to 0; ``share`` of them, rounded."""
    for parameter, moments in optimizer.state.items():
        for moment in moments.values():
            if isinstance(moment, torch.Tensor) and moment.shape == parameter.shape:
                flat = moment.view(-1)
                largest = flat.abs().topk(flat.numel() - round(share * flat.numel())).indices
                kept = flat[largest]
                flat.zero_()
                flat[largest] = kept
