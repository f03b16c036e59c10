"""MoRA: one square matrix in the place of both factors, between a fixed compression and a fixed decompression."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from peft import PeftModel
from torch.nn.functional import linear
from transformers import PreTrainedModel

from lorabench.errors import UserError
from lorabench.models.shapes import Shapes
from lorabench.training.calibration import Calibration
from lorabench.variants.base import adapter_layers, save_merged
from lorabench.variants.layers.weight_update import WeightUpdate
from lorabench.variants.lora import LoRA

KINDS = ("rope", "sharing")
BASE = 10_000.0  # of the rotary angles


class Square(WeightUpdate):
    """ΔW = s·D M C with M [q, q] trained; C and D are fixed and linear."""

    def __init__(self, kind: str):
        """Take ``rope`` or ``sharing``."""
        self.kind = kind

    def product(self, x: torch.Tensor, square: torch.Tensor, rows: int) -> torch.Tensor:
        """D M C x [..., m] of x [..., n], m = ``rows``.

        x, its first values repeated behind it, is cut into blocks of q values. ``sharing`` sums the blocks and repeats the
        product; ``rope`` turns block t by the angles t·10000^(−2i/q) and sets the products one behind another.
        """
        side, n = len(square), x.shape[-1]
        blocks = torch.cat([x, x[..., : -n % side]], dim=-1).unflatten(-1, (-1, side))
        joined = blocks.sum(-2, keepdim=True) if self.kind == "sharing" else self.rotated(blocks)
        product = linear(joined, square).flatten(-2)
        return torch.cat([product] * math.ceil(rows / product.shape[-1]), dim=-1)[..., :rows]

    def rotated(self, blocks: torch.Tensor) -> torch.Tensor:
        """Block t of [..., k, q] turned in the planes of values i and i + q/2."""
        k, side = blocks.shape[-2:]
        frequencies = BASE ** (-torch.arange(0, side, 2, device=blocks.device, dtype=torch.float32) / side)
        angles = torch.arange(k, device=blocks.device, dtype=torch.float32)[:, None] * frequencies
        cos, sin = angles.cos().to(blocks.dtype), angles.sin().to(blocks.dtype)
        first, second = blocks.chunk(2, dim=-1)
        return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)

    def update(self, layer: Any) -> torch.Tensor:
        """ΔW [m, n]: the products of all unit vectors."""
        square = layer.lora_A["default"].weight.float()
        units = torch.eye(layer.in_features, device=square.device)
        return layer.scaling["default"] * self.product(units, square, layer.out_features).T

    def forward(  # type: ignore[override]
        self, module: Any, active_adapter: str, x: torch.Tensor, result: torch.Tensor, **kwargs: Any
    ) -> torch.Tensor:
        """The layer's output, without ΔW as a matrix."""
        dropped, square = module.lora_dropout[active_adapter](x), module.lora_A[active_adapter].weight
        return result + module.scaling[active_adapter] * self.product(dropped, square, module.out_features)


@dataclass(kw_only=True)
class MoRA(LoRA):
    """y = Wx + s·D(M·C(x)), M [q, q] trained, q = ⌊√(r(m + n)) + ½⌋, C and D fixed (Jiang et al. 2024, arXiv 2405.12130).

    M has about as many values as LoRA's factors of rank r, and the update a rank of up to q (``sharing``) or min(m, n)
    (``rope``, q made even). M starts as 0. C and D are linear, so that merging is exact; no PEFT adapter holds it, and merged
    weights are saved. The authors' code has no alpha: alpha = rank, s = 1, is theirs.

    >>> mora = MoRA(name="mora", rank=2, alpha=2, dropout=0.0, target_modules=["q_proj"], kind="rope")
    >>> mora.side(8, 6), mora.trainable_parameters({"layers.0.q_proj": (8, 6)})  # √28 = 5.3, made even
    (4, 16)

    Attributes:
        kind: ``rope`` (the paper's eq. 9) or ``sharing`` (eq. 6).
    """

    version: ClassVar[int] = 1
    starts_on_quantised: ClassVar[bool] = True

    kind: str

    def side(self, m: int, n: int) -> int:
        """q of a matrix of this shape."""
        side = int(math.sqrt((m + n) * self.rank) + 0.5)
        return side // 2 * 2 if self.kind == "rope" else side

    def check(self, shapes: Shapes) -> None:
        """As for LoRA; the kind must be known, and q at most min(m, n)."""
        super().check(shapes)
        if self.kind not in KINDS:
            raise UserError(f"variant.kind={self.kind} is unknown; available: {', '.join(KINDS)}")
        for name in self.targets(shapes):
            m, n = shapes[name]
            if self.side(m, n) > min(m, n):
                raise UserError(
                    f"rank={self.rank} makes a square of {self.side(m, n)} for {name} ({m} x {n}), which has {min(m, n)}; "
                    f"use rank <= {min(m, n) ** 2 // (m + n)}"
                )

    def attach(self, model: PreTrainedModel, generator: torch.Generator, calibration: Calibration | None = None) -> PeftModel:
        """Add PEFT's LoRA layers with M in the place of A, and nothing in that of B."""
        adapted = super().attach(model, generator, calibration)
        for _, layer in adapter_layers(adapted):
            like, side = layer.lora_A["default"].weight, self.side(layer.out_features, layer.in_features)
            layer.lora_A["default"].weight = torch.nn.Parameter(like.new_zeros(side, side))
            layer.lora_B["default"] = torch.nn.Identity()
            layer.lora_variant["default"] = Square(self.kind)
        return adapted

    def trainable_parameters(self, shapes: Shapes) -> int:
        """Number of values of M: Σ q²."""
        return sum(self.side(*shapes[name]) ** 2 for name in self.targets(shapes))

    def save(self, model: PeftModel, path: Path) -> None:
        """Write the merged weights."""
        save_merged(self.merged(model), path, f"variant={self.name} trains a square between fixed maps")
