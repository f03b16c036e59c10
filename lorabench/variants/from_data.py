"""A LoRA that starts from training data: what LoRA-GA, EVA, CorDA and LoRA-One have in common."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from transformers import PreTrainedModel

from lorabench.errors import UserError
from lorabench.models.shapes import Shapes
from lorabench.training.calibration import Calibration
from lorabench.variants.lora import LoRA

Start = tuple[torch.Tensor, torch.Tensor | None]
"""A [r, n] and B [m, r]; None stands for B = 0."""


@dataclass(kw_only=True)
class FromData(LoRA):
    """y = (W + s·BA)x, with a start made of the cell's training samples; subclasses say which, in ``starts``.

    Attributes:
        samples: the first of the cell's samples, at most as many as it has, that the start is made of.
    """

    version: ClassVar[int] = 0

    samples: int
    _starts: dict[str, Start] = field(default_factory=dict, init=False, repr=False, compare=False)

    @abstractmethod
    def starts(self, model: PreTrainedModel, names: Sequence[str], calibration: Calibration) -> Iterator[tuple[str, Start]]:
        """Yield (name, factors) of the matrices ``names``; the model is the untouched base and is left as it was."""

    def check(self, shapes: Shapes) -> None:
        """As for LoRA; there must be a sample."""
        super().check(shapes)
        if self.samples < 1:
            raise UserError(f"variant.samples={self.samples} must be at least 1")

    def prepare(self, model: PreTrainedModel, names: Sequence[str], calibration: Calibration | None) -> None:
        """Make the starts, of which only the factors are kept."""
        if calibration is None:
            raise ValueError(f"{self.name} starts from training data: it needs a calibration")
        self._starts = dict(self.starts(model, names, calibration))
        if missing := [name for name in names if name not in self._starts]:
            raise UserError(f"variant={self.name}: its starts() yields nothing for {missing[0]}")

    def factors(self, name: str, weight: torch.Tensor, generator: torch.Generator) -> Start:
        """What ``prepare`` made for this matrix; it depends on the seed through the choice of samples."""
        return self._starts.pop(name)
