"""VeRA: A and B are random, fixed and shared by all layers; two vectors a layer are trained."""

import math
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from peft import PeftModel, VeraConfig
from transformers import PreTrainedModel

from lorabench.errors import UserError
from lorabench.models.shapes import Shapes
from lorabench.training.calibration import Calibration
from lorabench.variants.adapter import Adapter
from lorabench.variants.layers.precision import keep_output_dtype


@dataclass(kw_only=True)
class VeRA(Adapter):
    """y = (W + Λ_b B Λ_d A)x: A, B random, fixed, shared; trained diagonal Λ_b, Λ_d (Kopiczko et al. 2023, arXiv 2310.11454).

    For a basis rank b: Λ_d [b] starts at ``d_initial`` and Λ_b [m] at 0. A [b, N] and B [M, b] are drawn once, for the largest
    n = N and m = M of all adapted matrices, by Kaiming's uniform rule: A ~ U(±√(6/N)), B ~ U(±√(6/b)). A matrix takes the first
    n columns of A and the first m rows of B, as in PEFT.

    b + m values a matrix are trained, a small part of LoRA's at any sensible b. So ``rank`` and alpha are none of its settings:
    cells of another ``rank`` repeat it. The bases are saved beside the vectors; a file loads however torch draws elsewhere.

    >>> vera = VeRA(name="vera", dropout=0.0, target_modules=["q_proj"], basis_rank=256, d_initial=0.1)
    >>> vera.trainable_parameters({"layers.0.q_proj": (8, 6)})  # 256 of Λ_d, 8 of Λ_b
    264

    Attributes:
        basis_rank: b; it may be larger than m and n.
        d_initial: start of Λ_d.
    """

    version: ClassVar[int] = 1
    starts_on_quantised: ClassVar[bool] = True

    rank: int = field(init=False, default=1, repr=False)
    alpha: float = field(init=False, default=1.0, repr=False)
    basis_rank: int
    d_initial: float
    _key: int | None = field(init=False, default=None, repr=False, compare=False)

    def check(self, shapes: Shapes) -> None:
        """As for every adapter; a Λ_d of 0 would leave Λ_b, which is 0 too, without a gradient."""
        super().check(shapes)
        if self.basis_rank < 1:
            raise UserError(f"variant.basis_rank={self.basis_rank} must be at least 1")
        if self.d_initial == 0 or not math.isfinite(self.d_initial):
            raise UserError(f"variant.d_initial={self.d_initial} must be finite and not 0: at 0 nothing would be trained")

    def trainable_parameters(self, shapes: Shapes) -> int:
        """Σ b + m over the adapted matrices."""
        return sum(self.basis_rank + shapes[name][0] for name in self.targets(shapes))

    def peft_config(self) -> VeraConfig:
        """PEFT's VeRA layers over the bases of ``attach``'s key."""
        return VeraConfig(
            r=self.basis_rank,
            d_initial=self.d_initial,
            projection_prng_key=self._key or 0,
            save_projection=True,
            vera_dropout=self.dropout,
            target_modules=list(self.target_modules),
            task_type="CAUSAL_LM",
        )

    def attach(self, model: PreTrainedModel, generator: torch.Generator, calibration: Calibration | None = None) -> PeftModel:
        """Add PEFT's layers over bases from ``generator``."""
        self._key = int(torch.randint(2**62, (), generator=generator))
        return keep_output_dtype(super().attach(model, generator, calibration))
