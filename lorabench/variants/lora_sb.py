"""LoRA-SB: a small matrix is trained between frozen factors, which span the best low-rank step of full fine-tuning."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch
from peft import PeftModel
from transformers import PreTrainedModel

from lorabench.errors import UserError
from lorabench.models.shapes import Shapes
from lorabench.training import svd
from lorabench.training.calibration import Calibration
from lorabench.variants.base import adapter_layers
from lorabench.variants.from_data import FromData, Start
from lorabench.variants.layers.mixed import Mixed

ITERATIONS = 10  # of the randomised SVD in the authors' code


@dataclass(kw_only=True)
class LoRASB(FromData):
    """y = (W + s·BRA)x, −sign(∂loss/∂W) = UΣVᵀ; B = U_r, A = V_rᵀ stay, R = ηΣ_r/s is trained (arXiv 2411.19557).

    Ponkshe et al. 2024: −η·sign of the gradient on ``samples`` is AdamW's first step of all of W, and s·BRA the best part of it
    of rank r. As in the authors' code, η is the learning rate of the first step that has one: R is 0 until then, so that the
    function of the base is what training starts from. ``rank`` r makes r² trained values a matrix, at most a few thousandths of
    LoRA's. It is saved as LoRA with the factors RA and B.

    >>> method = LoRASB(name="lora_sb", rank=2, alpha=2, dropout=0.0, target_modules=["q_proj"], samples=50)
    >>> method.trainable_parameters({"layers.0.q_proj": (8, 6)})  # R [2, 2]
    4
    """

    version: ClassVar[int] = 1
    bilinear: ClassVar[bool] = False

    _sigma: dict[str, torch.Tensor] = field(default_factory=dict, init=False, repr=False, compare=False)

    def starts(self, model: PreTrainedModel, names: Sequence[str], calibration: Calibration) -> Iterator[tuple[str, Start]]:
        """Yield the singular vectors of a step of the whole matrix; Σ_r is kept until the first step."""
        self._sigma.clear()
        for name, gradient in calibration.gradients(model, names, self.samples):
            if not (gradient.isfinite().all() and gradient.any()):
                raise UserError(
                    f"variant={self.name}: the gradient of {name} on the samples is not a finite one other than 0; "
                    "use more samples (variant.samples), with targets"
                )
            u, self._sigma[name], vt = svd.randomized(-gradient.to(model.device).sign(), self.rank, ITERATIONS)
            yield name, (vt, u)

    def factors(self, name: str, weight: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, None]:
        """A alone: a B given here would be taken out of W."""
        return self._starts[name][0], None

    def attach(self, model: PreTrainedModel, generator: torch.Generator, calibration: Calibration | None = None) -> PeftModel:
        """Add PEFT's LoRA layers with frozen A and B, and R = 0 after A."""
        adapted = super().attach(model, generator, calibration)
        with torch.no_grad():
            for name, layer in adapter_layers(adapted):
                lora_A, lora_B = layer.lora_A["default"].weight, layer.lora_B["default"].weight
                lora_B.copy_(self._starts.pop(name)[1])
                for factor in (lora_A, lora_B):
                    factor.requires_grad_(False)
                layer.lora_A["default"] = Mixed(lora_A, torch.zeros(self.rank, self.rank))
        return adapted

    def trainable_parameters(self, shapes: Shapes) -> int:
        """Number of values of R: r² a matrix."""
        return self.rank**2 * len(self.targets(shapes))

    @torch.no_grad()
    def before_step(self, model: PeftModel, optimizer: torch.optim.Optimizer, step: int, total: int) -> None:
        """Set R before the first step with a learning rate."""
        rate = optimizer.param_groups[0]["lr"]
        if rate and self._sigma:
            for name, layer in adapter_layers(model):
                layer.lora_A["default"].mixer.copy_(torch.diag(rate / self.scale * self._sigma[name]))
            self._sigma.clear()

    def state(self, model: PeftModel) -> dict[str, Any]:
        """Whether R has its start."""
        return {"started": not self._sigma}

    def load_state(self, model: PeftModel, state: dict[str, Any]) -> None:
        """An R that has its start keeps what it learnt since."""
        if state["started"]:
            self._sigma.clear()

    def save(self, model: PeftModel, path: Path) -> None:
        """Write plain LoRA of rank r, with RA in the place of A."""
        self.save_factors(model, path)

    def detach(self, model: PeftModel) -> None:
        """As every variant; what was kept for the first step is forgotten."""
        super().detach(model)
        self._sigma.clear()
