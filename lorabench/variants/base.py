"""What a variant is: how it attaches trainable parameters to a frozen model, steps them, and turns them into plain weights."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from lorabench.errors import UserError, nearest

if TYPE_CHECKING:
    import torch
    from peft import PeftConfig, PeftModel
    from transformers import PreTrainedModel

    from lorabench.calibration import Calibration


@dataclass(kw_only=True)
class Variant(ABC):
    """A fine-tuning method; its fields are the keys of its yaml.

    A weight W is [m, n] (out, in); A is [r, n] and B is [m, r]; the adapted layer computes (W + s·BA)x.

    Attributes:
        name: as on the command line and in every table.
        rank: r, at most min(m, n) of every matrix.
        alpha: the numerator of the scale s.
        dropout: probability with which the adapter's input is dropped in training.
        target_modules: names of the linear layers that get an adapter, in every block.
        bilinear: whether the adapted layer computes (W + s·BA)x and starts as Wx.
    """

    bilinear: ClassVar[bool] = False

    name: str
    rank: int
    alpha: float
    dropout: float
    target_modules: list[str]

    def targets(self, names: Any) -> list[str]:
        """Those of the module ``names`` that get an adapter."""
        return [name for name in names if name.rsplit(".", 1)[-1] in self.target_modules]

    def check(self, shapes: dict[str, tuple[int, int]]) -> None:
        """Raise UserError unless the variant fits linear layers of these shapes (m, n)."""
        if self.rank < 1:
            raise UserError(f"rank={self.rank} must be at least 1")
        if not 0 < self.alpha < math.inf:
            raise UserError(f"variant.alpha={self.alpha} must be positive")
        if not 0 <= self.dropout < 1:
            raise UserError(f"variant.dropout={self.dropout} must lie in [0, 1)")
        if isinstance(self.target_modules, str):
            raise UserError(f"variant.target_modules must be a list; write variant.target_modules=[{self.target_modules}]")
        if not self.target_modules:
            raise UserError("variant.target_modules is empty; name the linear layers that get an adapter")
        leaves = {name.rsplit(".", 1)[-1] for name in shapes}
        for module in self.target_modules:
            if module not in leaves:
                raise UserError(f"variant.target_modules: the model has no linear layer '{module}'; {nearest(module, leaves)}")
        for name in self.targets(shapes):
            if self.rank > min(shapes[name]):
                m, n = shapes[name]
                raise UserError(f"rank={self.rank} is larger than {name} ({m} x {n}) allows; use rank <= {min(m, n)}")

    @abstractmethod
    def peft_config(self) -> "PeftConfig":
        """The PEFT configuration whose layers carry this variant's parameters."""

    def attach(
        self, model: "PreTrainedModel", generator: "torch.Generator", calibration: "Calibration | None" = None
    ) -> "PeftModel":
        """Add the trainable parameters.

        Args:
            model: the frozen base; variants may change its weights so that the function stays the same.
            generator: the only source of randomness.
            calibration: the cell's training data, for variants that start from them.
        """
        import torch
        from peft import get_peft_model

        with torch.random.fork_rng():
            torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))
            return get_peft_model(model, self.peft_config())

    def trainable_parameters(self, shapes: dict[str, tuple[int, int]]) -> int:
        """Number of trained values: Σ r(m + n) over the adapted matrices for a pair of low-rank factors."""
        return sum(self.rank * sum(shapes[name]) for name in self.targets(shapes))

    def optimizer_bytes(self, shapes: dict[str, tuple[int, int]]) -> int:
        """Size of the optimizer's state: AdamW's two float32 moments for each trained value."""
        return 8 * self.trainable_parameters(shapes)

    def optimizer(self, model: "PeftModel", lr: float, **adamw: Any) -> "torch.optim.Optimizer":
        """The optimizer; ``adamw`` holds betas, eps and weight_decay."""
        import torch

        return torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=lr, fused=True, **adamw)

    def clip(self, model: "PeftModel", max_norm: float) -> float:
        """Scale the gradients so that their joint 2-norm is at most ``max_norm``; return the norm before."""
        import torch

        return float(torch.nn.utils.clip_grad_norm_([p for p in model.parameters() if p.requires_grad], max_norm))

    def merged(self, model: "PeftModel") -> "dict[str, torch.Tensor]":
        """Plain weights of the adapted matrices by their names in the base; the model is left as it was."""
        merged = {}
        for name, layer in adapter_layers(model):
            weight = layer.get_base_layer().weight
            kept = weight.detach().clone()
            layer.merge()
            merged[f"{name}.weight"] = weight.detach().clone()
            # Copying back is exact; PEFT's unmerge subtracts and leaves rounding errors.
            weight.data.copy_(kept)
            layer.merged_adapters.clear()
        return merged

    def save(self, model: "PeftModel", path: Path) -> None:
        """Write a folder that plain ``PeftModel.from_pretrained(untouched base, path)`` loads to the same function."""
        model.save_pretrained(str(path), save_embedding_layers=False)

    def detach(self, model: "PeftModel") -> None:
        """Take the adapters out of the base again; base weights that ``attach`` changed stay changed."""
        model.unload()


def adapter_layers(model: "PeftModel") -> Iterator[tuple[str, Any]]:
    """Yield (name in the base model, PEFT layer) of every adapted matrix."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    for name, module in model.get_base_model().named_modules():
        if isinstance(module, BaseTunerLayer):
            yield name, module
