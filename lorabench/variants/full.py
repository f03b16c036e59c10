"""Full fine-tuning: the weights themselves are trained, without any adapter."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import ClassVar

import torch
from transformers import PreTrainedModel

from lorabench.errors import UserError, nearest
from lorabench.models.shapes import Shapes, linear_layers
from lorabench.training.calibration import Calibration
from lorabench.variants.base import Adapted, Variant

CHOICES = ("matrices", "all", "biases")


@dataclass(kw_only=True)
class Full(Variant):
    """W ← W + ΔW: each weight moves by AdamW's step; no rank (the baseline of Hu et al. 2021, arXiv 2106.09685, section 5.1).

    AdamW moves float32 copies of a bfloat16 base's weights (Micikevicius et al. 2018, arXiv 1710.03740): a step of less than
    1/256 of a weight would be lost in bfloat16. The trained model has the base's precision again.

    ``biases`` is BitFit (Ben Zaken et al. 2021, arXiv 2106.10199): all bias vectors, those of norms included, and nothing else.
    Few decoders have any.

    >>> full = Full(name="full", weights="matrices", target_modules=["q_proj"])
    >>> full.trainable_parameters(Shapes({"layers.0.q_proj": (8, 6), "layers.0.up_proj": (32, 8)}))
    48

    Attributes:
        weights: ``all`` of the model, embeddings and norms included, ``matrices``: the linear layers of ``target_modules``, or
            ``biases`` of all layers.
        target_modules: names of the linear layers that are trained with ``matrices``, in every block; an adapter's.
    """

    version: ClassVar[int] = 1

    weights: str
    target_modules: list[str]
    _precisions: dict[str, torch.dtype] = field(default_factory=dict, init=False, repr=False, compare=False)

    def check(self, shapes: Shapes) -> None:
        """Raise UserError unless ``weights`` is a choice and the model has the layers."""
        if self.weights not in CHOICES:
            raise UserError(f"variant.weights={self.weights} is unknown; available: {', '.join(CHOICES)}")
        leaves = {name.rsplit(".", 1)[-1] for name in shapes}
        for module in self.target_modules:
            if module not in leaves:
                raise UserError(f"variant.target_modules: the model has no linear layer '{module}'; {nearest(module, leaves)}")
        if self.weights == "biases" and not self.touched(shapes):
            raise UserError(
                "variant.weights=biases: this model has no bias vector; use variant.weights=matrices, or another model"
            )
        if not self.touched(shapes):
            raise UserError(
                "variant.target_modules is empty; name the linear layers that are trained, or use variant.weights=all"
            )

    def targets(self, names: Iterable[str]) -> list[str]:
        """The linear layers whose matrices are trained: with ``biases`` none, whichever of them have one."""
        if self.weights == "biases":
            return []
        return [name for name in names if self.weights == "all" or name.rsplit(".", 1)[-1] in self.target_modules]

    def touched(self, shapes: Shapes) -> list[str]:
        """All weights, the matrices', or the biases'."""
        if self.weights == "matrices":
            return super().touched(shapes)
        return [name for name in shapes.weights if self.weights == "all" or is_bias(name)]

    def trainable_parameters(self, shapes: Shapes) -> int:
        """The values of these weights."""
        return sum(prod(shapes.weights[name]) for name in self.touched(shapes))

    def attach(self, model: PreTrainedModel, generator: torch.Generator, calibration: Calibration | None = None) -> Adapted:
        """Let the weights be trained, in float32."""
        matrices = {f"{name}.weight" for name in self.targets(linear_layers(model))}
        for name, weight in model.named_parameters():
            if self.weights == "all" or (is_bias(name) if self.weights == "biases" else name in matrices):
                self._precisions[name] = weight.dtype
                weight.data = weight.data.float()
                weight.requires_grad_(True)
        return model

    def merged(self, model: Adapted) -> dict[str, torch.Tensor]:
        """The trained weights in the base's precision."""
        return {name: weight.detach().to(self._precisions[name], copy=True) for name, weight in self.trained(model).items()}

    def save(self, model: Adapted, path: Path) -> None:
        """Write a checkpoint that transformers loads, in the base's precision."""
        tied = model.state_dict().keys() - dict(model.named_parameters()).keys() - dict(model.named_buffers()).keys()
        kept = {name: weight for name, weight in model.state_dict().items() if name not in tied}
        kept = {name: weight.to(self._precisions.get(name, weight.dtype)) for name, weight in kept.items()}
        model.save_pretrained(str(path), state_dict=kept)

    def detach(self, model: Adapted) -> None:
        """Give the weights the base's precision again, and freeze them."""
        weights = dict(model.named_parameters())
        for name, precision in self._precisions.items():
            weights[name].data = weights[name].data.to(precision)
            weights[name].requires_grad_(False).grad = None
        self._precisions.clear()


def is_bias(name: str) -> bool:
    """Whether a parameter of this name is a layer's bias vector."""
    return name.rpartition(".")[2] == "bias"
