"""What an adapter is: a variant whose trained parameters are PEFT's layers beside a model's linear ones."""

import math
from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from peft import PeftConfig, PeftModel, get_peft_model
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from lorabench.errors import UserError, nearest
from lorabench.models.quantised import dequantised, quantised_layers
from lorabench.models.shapes import Shapes, linear_layers
from lorabench.training.calibration import Calibration
from lorabench.variants.base import Variant, adapter_layers, base_of, base_parameters, save_merged
from lorabench.variants.layers.in_floats import in_floats


@dataclass(kw_only=True)
class Adapter(Variant):
    """A low-rank update, or another one of as many values, beside each linear layer of chosen names.

    A weight W is [m, n] (out, in); A is [r, n] and B is [m, r]; the adapted layer computes (W + s·BA)x.

    Attributes:
        rank: r, at most min(m, n) of every matrix.
        alpha: the numerator of the scale s.
        dropout: probability with which the adapter's input is dropped in training.
        target_modules: names of the linear layers that get an adapter, in every block.
    """

    version: ClassVar[int] = 0

    rank: int
    alpha: float
    dropout: float
    target_modules: list[str]

    def targets(self, names: Iterable[str]) -> list[str]:
        """Those of the module ``names`` that get an adapter."""
        return [name for name in names if name.rsplit(".", 1)[-1] in self.target_modules]

    def check(self, shapes: Shapes) -> None:
        """Raise UserError unless the variant fits linear layers of these shapes (m, n)."""
        if self.rank < 1:
            raise UserError(f"rank={self.rank} must be at least 1")
        if not 0 < self.alpha < math.inf:
            raise UserError(f"variant.alpha={self.alpha} must be positive")
        if not 0 <= self.dropout < 1:
            raise UserError(f"variant.dropout={self.dropout} must lie in [0, 1)")
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
    def peft_config(self) -> PeftConfig:
        """The PEFT configuration whose layers carry this variant's parameters."""

    def attach(self, model: PreTrainedModel, generator: torch.Generator, calibration: Calibration | None = None) -> PeftModel:
        """Add PEFT's layers, which draw by ``generator`` alone."""
        with torch.random.fork_rng():
            torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))
            return get_peft_model(model, fitted(self.peft_config(), model, self.targets(linear_layers(model))))

    def trainable_parameters(self, shapes: Shapes) -> int:
        """Number of trained values: Σ r(m + n) over the adapted matrices for a pair of low-rank factors."""
        return sum(self.rank * sum(shapes[name]) for name in self.targets(shapes))

    def merged(self, model: PeftModel) -> dict[str, torch.Tensor]:
        """Plain weights by their names in the base, of all adapted matrices and of what of the base is trained.

        Of a quantised base: all its linear layers, dequantised. The model is left as it was.
        """
        merged = {}
        for name, layer in adapter_layers(model):
            quantised = not layer.get_base_layer().weight.is_floating_point()
            with in_floats(layer):
                weight = layer.get_base_layer().weight
                before = weight.detach().clone()
                layer.merge()
                # A quantised base may be on a device because its floats have no room there.
                merged[f"{name}.weight"] = weight.detach().to("cpu" if quantised else weight.device, copy=True)
                # Copying back is exact; PEFT's unmerge subtracts and leaves rounding errors.
                weight.data.copy_(before)
                layer.merged_adapters.clear()
        for name, beside in quantised_layers(base_of(model)).items():
            if not name.endswith(".base_layer"):  # which an adapter is beside
                merged[f"{name}.weight"] = dequantised(beside).cpu()
        trained = base_parameters(model, self.trained(model))
        return merged | {name: p.detach().clone() for name, p in trained.items() if name not in merged}

    def save(self, model: PeftModel, path: Path) -> None:
        """Write a folder that plain ``PeftModel.from_pretrained(untouched base, path)`` loads to the same function.

        Where weights of the base are trained, which no PEFT adapter holds, it gets the merged weights, and a line says so.
        """
        if trained := base_parameters(model, self.trained(model)):
            return save_merged(self.merged(model), path, f"variant={self.name} trains {next(iter(trained))} of the base")
        model.save_pretrained(str(path), save_embedding_layers=False)

    def detach(self, model: PeftModel) -> None:
        """Take the adapters out of the base again; base weights that ``attach`` changed stay changed."""
        model.unload()


def fitted(config: PeftConfig, model: torch.nn.Module, names: Iterable[str]) -> PeftConfig:
    """The configuration, which says so where layers ``names`` of the model hold Wᵀ; PEFT would warn for each."""
    if any(isinstance(model.get_submodule(name), Conv1D) for name in names) and hasattr(config, "fan_in_fan_out"):
        config.fan_in_fan_out = True
    return config
