"""AdaLoRA: the update is a singular value decomposition whose ranks follow the matrices' importance during training."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch
from peft import AdaLoraConfig, PeftModel
from transformers import PreTrainedModel

from lorabench.errors import UserError
from lorabench.models.shapes import Shapes
from lorabench.training.calibration import Calibration
from lorabench.variants.adapter import Adapter
from lorabench.variants.base import adapter_layers
from lorabench.variants.optimizers.ranks import Allocation, Budget, Triplets


@dataclass(kw_only=True)
class AdaLoRA(Adapter):
    """y = (W + s·PΛQ)x, Λ diagonal, pruned during training, P and Q near orthonormal (Zhang et al. 2023, arXiv 2303.10512).

    P [m, r₀] and Q [r₀, n] start ~ N(0, 0.02²), as in the authors' code, Λ [r₀] at 0; s = alpha / rank. ``rank`` is the mean
    rank that is left at the end, r₀ that of the start: the ranks in between, and which matrix gets how much, are in
    ``optimizers.ranks``. So r₀(m + n + 1) values a matrix are trained, more than LoRA's, of which rank(m + n + 1) are left on
    average. The phases are shares of the run, so that they fit a run of any length.

    Each step adds γ / 2K · Σ (‖PᵀP − I‖ + ‖QQᵀ − I‖) (Frobenius) over the K matrices to its loss. This is the authors' code, to
    which their γ belongs; the paper writes the sum of the squares.

    >>> fields = {"alpha": 8, "dropout": 0.0, "target_modules": ["q_proj"], "init_ratio": 1.5, "orthogonality": 0.1}
    >>> shares = {"warmup_share": 0.15, "final_share": 0.5, "interval_share": 0.002, "beta1": 0.85, "beta2": 0.85}
    >>> adalora = AdaLoRA(name="adalora", rank=8, **fields, **shares)
    >>> adalora.initial_rank, adalora.trainable_parameters({"layers.0.q_proj": (48, 32)})
    (12, 972)
    >>> adalora.budget(2, total=1000)
    Budget(initial=24, target=16, warmup=150, final=500, interval=2, total=1000)

    Attributes:
        init_ratio: r₀ / rank.
        warmup_share: t_i / T.
        final_share: t_f / T.
        interval_share: ΔT / T; at least every step.
        beta1: β₁ of the smoothed sensitivity.
        beta2: β₂ of its uncertainty.
        orthogonality: γ.
    """

    version: ClassVar[int] = 1
    starts_on_quantised: ClassVar[bool] = True

    init_ratio: float
    warmup_share: float
    final_share: float
    interval_share: float
    beta1: float
    beta2: float
    orthogonality: float
    _allocation: Allocation | None = field(init=False, default=None, repr=False, compare=False)

    @property
    def initial_rank(self) -> int:
        """r₀, at least one more than ``rank``."""
        return max(self.rank + 1, round(self.init_ratio * self.rank))

    def budget(self, matrices: int, total: int) -> Budget:
        """The total rank of so many matrices over a run of ``total`` steps."""
        return Budget(
            initial=self.initial_rank * matrices,
            target=self.rank * matrices,
            warmup=round(self.warmup_share * total),
            final=round(self.final_share * total),
            interval=max(1, round(self.interval_share * total)),
            total=total,
        )

    def check(self, shapes: Shapes) -> None:
        """As for every adapter; r₀ must fit, too, and the shares leave a phase between them."""
        super().check(shapes)
        if not 1 < self.init_ratio < math.inf:
            raise UserError(f"variant.init_ratio={self.init_ratio} must be greater than 1")
        for name in self.targets(shapes):
            if self.initial_rank > min(shapes[name]):
                m, n = shapes[name]
                raise UserError(
                    f"rank={self.rank}: variant={self.name} starts with rank {self.initial_rank}, more than {name} ({m} x {n}) "
                    "allows; use a smaller rank or variant.init_ratio"
                )
        for key in ("warmup_share", "final_share", "interval_share"):
            if not 0 <= getattr(self, key) < 1:
                raise UserError(f"variant.{key}={getattr(self, key)} must lie in [0, 1)")
        if self.warmup_share + self.final_share >= 1:
            raise UserError(
                f"variant.warmup_share={self.warmup_share} and variant.final_share={self.final_share} leave no part of the run "
                "in which ranks are chosen; their sum must be below 1"
            )
        for key in ("beta1", "beta2"):
            if not 0 < getattr(self, key) < 1:
                raise UserError(f"variant.{key}={getattr(self, key)} must lie in (0, 1)")
        if not 0 <= self.orthogonality < math.inf:
            raise UserError(f"variant.orthogonality={self.orthogonality} must be finite and at least 0")

    def check_steps(self, total: int) -> None:
        """At least one step must have told the importance before the ranks settle, after the warm-up."""
        plan = self.budget(1, total)
        if plan.settled <= max(plan.warmup, 1):
            raise UserError(
                f"variant={self.name}: of {total} steps {plan.warmup} are the warm-up and {plan.final} the final phase, which "
                "leaves none to choose ranks in; use more train_samples or epochs, or a smaller variant.final_share"
            )

    def trainable_parameters(self, shapes: Shapes) -> int:
        """Σ r₀(m + n + 1) over the adapted matrices."""
        return sum(self.initial_rank * (sum(shapes[name]) + 1) for name in self.targets(shapes))

    def optimizer_bytes(self, shapes: Shapes) -> int:
        """AdamW's two moments, and until the ranks settle Ī and Ū, in float32."""
        return 2 * super().optimizer_bytes(shapes)

    def peft_config(self) -> AdaLoraConfig:
        """PEFT's layers, whose scale is lora_alpha / (r₀ + 1e-5); its own allocator is not used."""
        return AdaLoraConfig(
            init_r=self.initial_rank,
            target_r=self.rank,
            lora_alpha=self.alpha * self.initial_rank / self.rank,  # type: ignore[arg-type]
            lora_dropout=self.dropout,
            orth_reg_weight=self.orthogonality,
            beta1=self.beta1,
            beta2=self.beta2,
            total_step=1,  # known with the first step: ``after_step``
            target_modules=list(self.target_modules),
            task_type="CAUSAL_LM",
        )

    def attach(self, model: PreTrainedModel, generator: torch.Generator, calibration: Calibration | None = None) -> PeftModel:
        """Add PEFT's layers, with nothing known of their importance."""
        self._allocation = Allocation((self.beta1, self.beta2))
        return super().attach(model, generator, calibration)

    def penalty(self, model: PeftModel) -> torch.Tensor | None:
        """γ times the mean distance of PᵀP and QQᵀ from I."""
        if not self.orthogonality:
            return None
        grams = [gram for q, _, p in triplets(model).values() for gram in (q @ q.T, p.T @ p)]
        identity = torch.eye(self.initial_rank, device=grams[0].device)
        return self.orthogonality * torch.stack([(gram - identity).norm() for gram in grams]).mean()

    def after_step(self, model: PeftModel, optimizer: torch.optim.Optimizer, step: int, total: int) -> None:
        """Set to 0 the λ of the triplets that the budget does not hold; PEFT's configuration is told the schedule."""
        assert self._allocation is not None, "attach first"
        factors = triplets(model)
        plan = self.budget(len(factors), total)
        self._allocation.follow(factors, plan, step)
        config: Any = model.peft_config["default"]
        config.tinit, config.tfinal, config.deltaT, config.total_step = plan.warmup, plan.final, plan.interval, plan.total

    def state(self, model: PeftModel) -> dict[str, Any]:
        """Ī and Ū of each factor, and which triplets are kept."""
        assert self._allocation is not None, "attach first"
        return {key: getattr(self._allocation, key) for key in ("smoothed", "uncertainty", "kept")}

    def load_state(self, model: PeftModel, state: Mapping[str, Any]) -> None:
        """Take them up, on the device of the layers."""
        assert self._allocation is not None, "attach first"
        device = {name: values.device for name, (_, values, _) in triplets(model).items()}
        self._allocation.kept = {name: mask.to(device[name]) for name, mask in state["kept"].items()}
        for key in ("smoothed", "uncertainty"):
            moved = {name: [part.to(device[name]) for part in parts] for name, parts in state[key].items()}
            setattr(self._allocation, key, moved)

    def save(self, model: PeftModel, path: Path) -> None:
        """As every adapter, without the triplets whose λ is 0: PEFT's ``rank_pattern`` says which there were."""
        config: Any = model.peft_config["default"]
        config.rank_pattern = {f"{name}.lora_E.default": nonzero(values) for name, (_, values, _) in triplets(model).items()}
        super().save(model, path)

    def detach(self, model: PeftModel) -> None:
        """As every adapter; what was known of the triplets is forgotten."""
        super().detach(model)
        self._allocation = None


def triplets(model: PeftModel) -> Triplets:
    """The factors of every adapted matrix."""
    factors = ("lora_A", "lora_E", "lora_B")
    layers = adapter_layers(model)
    return {name: tuple(getattr(layer, key)["default"] for key in factors) for name, layer in layers}  # type: ignore[misc]


def nonzero(values: torch.Tensor) -> list[bool]:
    """Which λ [r, 1] are not 0; the first where all are, as PEFT takes an empty matrix for a lost part of a file."""
    kept = (values != 0)[:, 0].tolist()
    return kept if any(kept) else [True, *kept[1:]]
