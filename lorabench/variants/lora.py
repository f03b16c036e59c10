"""LoRA: a low-rank update beside the frozen weight."""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch
from peft import LoraConfig, PeftModel
from peft.utils import SAFETENSORS_WEIGHTS_NAME
from safetensors.torch import save_file
from transformers import PreTrainedModel

from lorabench.models.shapes import matrix
from lorabench.training.calibration import Calibration
from lorabench.variants.adapter import Adapter
from lorabench.variants.base import adapter_layers, base_parameters

RESTS_ON = {
    "bilinear": ("attach", "peft_config", "trained", "touched", "targets"),
    "starts_on_quantised": ("attach", "prepare", "factors", "peft_config", "touched", "before_step", "after_step"),
}
"""By what a class states of itself, the methods that say what the layers are, what is trained, and what becomes of W."""


@dataclass(kw_only=True)
class LoRA(Adapter):
    """y = (W + s·BA)x with s = alpha / rank, A ~ U(±1/√n), B = 0 (Hu et al. 2021, arXiv 2106.09685).

    Subclasses that differ only in the start override ``factors``. The bound 1/√n is the Kaiming uniform one with a = √5,
    as in the authors' code and in PEFT.

    >>> lora = LoRA(name="lora", rank=2, alpha=4, dropout=0.0, target_modules=["q_proj"])
    >>> lora.scale, lora.trainable_parameters({"layers.0.q_proj": (8, 6), "layers.0.up_proj": (32, 8)})
    (2.0, 28)
    >>> a, b = lora.factors("layers.0.q_proj", torch.zeros(8, 6), torch.Generator().manual_seed(0))
    >>> a.shape, bool(a.abs().max() <= 6**-0.5), b
    (torch.Size([2, 6]), True, None)

    Attributes:
        initial: A₀ and B₀ in main memory, by module name, of the matrices whose base weight became W − s·B₀A₀.
    """

    version: ClassVar[int] = 1
    bilinear: ClassVar[bool] = True
    starts_on_quantised: ClassVar[bool] = True

    initial: dict[str, tuple[torch.Tensor, torch.Tensor]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """What a class states does not hold for those below that override what it rests on, unless they state it, too."""
        super().__init_subclass__(**kwargs)
        for stated, parts in RESTS_ON.items():
            states, *overrides = (
                next(place for place, base in enumerate(cls.__mro__) if name in vars(base)) for name in (stated, *parts)
            )
            if min(overrides) < states:
                setattr(cls, stated, False)

    @property
    def scale(self) -> float:
        """s = alpha / rank."""
        return self.alpha / self.rank

    def peft_config(self) -> LoraConfig:
        """PEFT's LoRA layers; the factors are overwritten by ``attach``."""
        return LoraConfig(
            r=self.rank,
            # PEFT divides by r; a scale of a subclass's own reaches it through alpha.
            lora_alpha=self.alpha if self.scale == self.alpha / self.rank else self.scale * self.rank,  # type: ignore[arg-type]
            lora_dropout=self.dropout,
            target_modules=list(self.target_modules),
            task_type="CAUSAL_LM",
        )

    def prepare(self, model: PreTrainedModel, names: Sequence[str], calibration: Calibration | None) -> None:
        """Take from the untouched model what ``factors`` will need for the matrices ``names``; nothing here."""
        return

    def factors(self, name: str, weight: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Initial factors of one matrix.

        Args:
            name: the matrix's module name in the base.
            weight: W [m, n] in float32.
            generator: the only source of randomness.

        Returns:
            A [r, n] and B [m, r]; B = None stands for zeros. With B given, W is replaced by W − s·BA.
        """
        return uniform(self.rank, weight.shape[1], weight.shape[1], generator), None

    def attach(self, model: PreTrainedModel, generator: torch.Generator, calibration: Calibration | None = None) -> PeftModel:
        """Add PEFT's LoRA layers, set their factors, and take s·BA out of the base so that the function is unchanged.

        Unchanged in evaluation: dropout in training drops inputs of the adapter alone, and so part of what the base has lost.
        """
        self.prepare(model, self.targets(name for name, _ in model.named_modules()), calibration)
        adapted = super().attach(model, generator, calibration)
        self.initial.clear()
        with torch.no_grad():
            for name, layer in adapter_layers(adapted):
                base = matrix(layer.get_base_layer())
                lora_A, lora_B = layer.lora_A["default"].weight, layer.lora_B["default"].weight
                weight = base.float().contiguous()
                a, b = self.factors(name, weight, generator)
                lora_A.copy_(a)
                if b is not None:
                    lora_B.copy_(b)
                    # From the stored factors, not from a and b: rounding them must not move the start.
                    base.copy_(weight - self.scale * lora_B.float() @ lora_A.float())
                    self.initial[name] = lora_A.to("cpu", copy=True), lora_B.to("cpu", copy=True)
        return adapted

    def save(self, model: PeftModel, path: Path) -> None:
        """As every variant; where the base was changed, as plain LoRA of a larger rank, 2r for a start, on the untouched base.

        W₀ − s·B₀A₀ + s·BA = W₀ + s·[B, −B₀][A; A₀]. The change of the base's weights is taken to be exact, so for a base in
        bfloat16 the loaded model lacks the rounding of W₀ − s·B₀A₀.
        """
        if not self.initial or base_parameters(model, self.trained(model)):
            return super().save(model, path)
        self.save_factors(model, path)

    def save_factors(self, model: PeftModel, path: Path) -> None:
        """Write plain LoRA of the factors' whole matrices, ``weight``, whatever modules they are; A₀ and −B₀ go with them."""
        factors = {}
        for name, layer in adapter_layers(model):
            a, b = (factor["default"].weight.detach().cpu() for factor in (layer.lora_A, layer.lora_B))
            if name in self.initial:
                first_A, first_B = self.initial[name]
                a, b = torch.cat([a, first_A]), torch.cat([b, -first_B], dim=1)
            factors[name] = a, b
        save_factors(model, factors, self.scale, path)

    def detach(self, model: PeftModel) -> None:
        """As every variant; the initial factors are forgotten."""
        super().detach(model)
        self.initial.clear()


def uniform(rows: int, columns: int, fan_in: int, generator: torch.Generator) -> torch.Tensor:
    """Draw a [rows, columns] matrix from U(−1/√fan_in, 1/√fan_in)."""
    return (2 * torch.rand(rows, columns, generator=generator) - 1) / math.sqrt(fan_in)


def save_factors(model: PeftModel, factors: dict[str, tuple[torch.Tensor, torch.Tensor]], scale: float, path: Path) -> None:
    """Write a folder that plain PEFT loads as LoRA: A [k, n] and B [m, k] by module name, each with its k; s = ``scale``.

    Of layers with DoRA's magnitudes, these go with them: they scale the rows of the same sum.
    """
    ranks = {name: len(a) for name, (a, _) in factors.items()}
    rank = max(ranks.values())
    smaller = {name: k for name, k in ranks.items() if k < rank}
    tensors = {}
    for name, layer in adapter_layers(model):
        if "default" in layer.lora_magnitude_vector:
            magnitude = layer.lora_magnitude_vector["default"].weight
            tensors[f"base_model.model.{name}.lora_magnitude_vector"] = magnitude.detach().cpu().contiguous()
    for name, (a, b) in factors.items():
        tensors[f"base_model.model.{name}.lora_A.weight"] = a.detach().cpu().contiguous()
        tensors[f"base_model.model.{name}.lora_B.weight"] = b.detach().cpu().contiguous()
    path.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path / SAFETENSORS_WEIGHTS_NAME, metadata={"format": "pt"})
    config: Any = model.peft_config["default"]
    scales = {
        "lora_alpha": scale * rank,
        "alpha_pattern": {name: scale * k for name, k in smaller.items()},
        "use_rslora": False,
    }
    config = dataclasses.replace(config, r=rank, rank_pattern=smaller, inference_mode=True, **scales)
    config.save_pretrained(str(path))
