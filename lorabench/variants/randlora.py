"""RandLoRA: a full-rank update from fixed random bases, of which only diagonal scales are trained."""

import math
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import torch
from peft import PeftModel, RandLoraConfig
from transformers import PreTrainedModel

from lorabench.errors import UserError
from lorabench.models.shapes import Shapes, linear_layers, matrix
from lorabench.terminal.bars import note
from lorabench.training.calibration import Calibration
from lorabench.variants.adapter import Adapter
from lorabench.variants.base import adapter_layers
from lorabench.variants.layers.precision import keep_output_dtype


@dataclass(kw_only=True)
class RandLoRA(Adapter):
    """y = (W + s·Σ_j B_j Λ_j A Γ_j)x: random fixed A, B_j, trained diagonal Λ_j, Γ_j (Albert et al. 2025, arXiv 2502.00987).

    For d = min(m, n), D = max(m, n) and a basis rank b: A [b, d] is one for the model, B_j [D, b] for j < N = ⌈d/b⌉ too,
    Λ_j [b] starts at 0 and Γ_j [d] at 1/max(d, N). Written for m ≥ n; otherwise the sum is transposed. All entries of the
    bases are independent with standard deviation 1, so that PEFT's own order of B's columns is as good as any. N(b + d) values
    are trained: **fewer** for a larger b.

    ``rank`` is the budget: b is the one whose count over the model is nearest that of LoRA with this rank. s does not depend on
    b; paper 1's script passes PEFT's alpha = 640 at any b, so that its s is 640 / b (docs/papers.md).

    >>> fields = {"alpha": 4, "dropout": 0.0, "target_modules": ["q_proj"], "basis_rank": None, "basis_scale": 20.0}
    >>> shapes = {"layers.0.q_proj": (48, 32)}
    >>> variants = [RandLoRA(name="randlora", rank=rank, **fields) for rank in (1, 2, 4)]  # LoRA trains 80, 160, 320 values
    >>> [(method.trainable_parameters(shapes), method.matched_rank(shapes)) for method in variants]
    [(96, 16), (160, 8), (288, 4)]

    Attributes:
        basis_rank: b; None chooses it by the budget.
        basis_scale: s where alpha = rank; s = basis_scale · alpha / rank.
    """

    version: ClassVar[int] = 1
    starts_on_quantised: ClassVar[bool] = True

    basis_rank: int | None
    basis_scale: float
    _bases: tuple[int, int] | None = field(init=False, default=None, repr=False, compare=False)

    def check(self, shapes: Shapes) -> None:
        """As for every variant; the basis rank must not exceed the largest min(m, n)."""
        super().check(shapes)
        if self.basis_scale <= 0:
            raise UserError(f"variant.basis_scale={self.basis_scale} must be positive")
        largest = max(self._sides(shapes))
        if self.basis_rank is not None and not 1 <= self.basis_rank <= largest:
            raise UserError(f"variant.basis_rank={self.basis_rank} must lie in 1 … {largest} for this model, or be null")

    def _sides(self, shapes: Shapes) -> Counter[int]:
        """How many adapted matrices have which d = min(m, n)."""
        return Counter(min(shapes[name]) for name in self.targets(shapes))

    def matched_rank(self, shapes: Shapes) -> int:
        """The basis rank whose trainable count is nearest LoRA's at ``rank``; of two equally near ones, the smaller rank."""
        sides = self._sides(shapes)
        budget = super().trainable_parameters(shapes)
        return min(range(1, max(sides) + 1), key=lambda b: (abs(trained(sides, b) - budget), b))

    def trainable_parameters(self, shapes: Shapes) -> int:
        """Σ N(b + d) over the adapted matrices."""
        return trained(self._sides(shapes), self.basis_rank or self.matched_rank(shapes))

    def peft_config(self) -> RandLoraConfig:
        """PEFT's RandLoRA layers over the bases that ``attach`` chose."""
        assert self._bases is not None, "attach first: the basis rank depends on the model"
        basis_rank, key = self._bases
        return RandLoraConfig(
            r=basis_rank,
            randlora_alpha=self.basis_scale * self.alpha / self.rank * basis_rank,  # type: ignore[arg-type]
            projection_prng_key=key,
            randlora_dropout=self.dropout,
            target_modules=list(self.target_modules),
            task_type="CAUSAL_LM",
        )

    def attach(self, model: PreTrainedModel, generator: torch.Generator, calibration: Calibration | None = None) -> PeftModel:
        """Choose the basis rank for this model, print both counts, and add PEFT's layers over bases from ``generator``."""
        shapes = Shapes({name: tuple(matrix(layer).shape) for name, layer in linear_layers(model).items()})  # type: ignore[misc]
        basis_rank = self.basis_rank or self.matched_rank(shapes)
        self._bases = basis_rank, int(torch.randint(2**62, (), generator=generator))
        note(
            f"{self.name}: basis rank {basis_rank} trains {self.trainable_parameters(shapes):,} values; "
            f"LoRA of rank {self.rank} trains {super().trainable_parameters(shapes):,}"
        )
        return keep_output_dtype(super().attach(model, generator, calibration))

    def save(self, model: PeftModel, path: Path) -> None:
        """Save PEFT's form, with the bases once instead of once a layer (several GB for a 0.6B model).

        PEFT then warns about missing keys when it loads the file; all layers share the bases that it does load.
        """
        bases = (".randlora_A.", ".randlora_B.")
        copies = [f"base_model.model.{name}{basis}" for name, _ in adapter_layers(model) for basis in bases]
        state = {key: value for key, value in model.state_dict().items() if not key.startswith(tuple(copies))}
        model.save_pretrained(str(path), state_dict=state, save_embedding_layers=False)


def trained(sides: Counter[int], basis_rank: int) -> int:
    """Trainable values of RandLoRA over so many matrices of each d = min(m, n): Σ ⌈d/b⌉(b + d)."""
    return sum(count * math.ceil(d / basis_rank) * (basis_rank + d) for d, count in sides.items())
