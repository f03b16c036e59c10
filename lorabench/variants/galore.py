"""GaLore: no adapter; the matrices themselves are trained, by AdamW in a low-rank subspace of their gradients."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

from lorabench.errors import UserError
from lorabench.models.shapes import Shapes
from lorabench.variants.base import Adapted
from lorabench.variants.full import Full
from lorabench.variants.optimizers.galore import GaLoreAdamW


@dataclass(kw_only=True)
class GaLore(Full):
    """W ← W − lr·s·P·AdamW(PᵀG), P the gradient's first r singular vectors, renewed (Zhao et al. 2024, arXiv 2403.03507).

    The equations are in ``optimizers.galore``. As in full fine-tuning all mn values of a matrix move; what is smaller is the
    optimizer's state. Clipping comes before the projection, as in the authors' code.

    >>> fields = {"rank": 2, "update_proj_gap": 200, "scale": 0.25, "target_modules": ["q_proj"]}
    >>> galore, shapes = GaLore(name="galore", **fields), Shapes({"layers.0.q_proj": (8, 6)})
    >>> galore.trainable_parameters(shapes), galore.optimizer_bytes(shapes)  # 8 bytes for each of 48 values by AdamW
    (48, 176)

    Attributes:
        rank: r, at most min(m, n) of every matrix.
        update_proj_gap: T, steps from one projector to the next.
        scale: s, the paper's α; without weight decay it multiplies lr.
    """

    version: ClassVar[int] = 1

    weights: str = field(init=False, default="matrices", repr=False)
    rank: int
    update_proj_gap: int
    scale: float

    def check(self, shapes: Shapes) -> None:
        """As for full fine-tuning of matrices; the rank must fit each, and numbers be positive."""
        if not self.target_modules:
            raise UserError("variant.target_modules is empty; name the linear layers that are trained")
        super().check(shapes)
        if self.rank < 1:
            raise UserError(f"rank={self.rank} must be at least 1")
        if self.update_proj_gap < 1:
            raise UserError(f"variant.update_proj_gap={self.update_proj_gap} must be at least 1")
        if not 0 < self.scale < float("inf"):
            raise UserError(f"variant.scale={self.scale} must be positive")
        for name in self.targets(shapes):
            if self.rank > min(shapes[name]):
                m, n = shapes[name]
                raise UserError(f"rank={self.rank} is larger than {name} ({m} x {n}) allows; use rank <= {min(m, n)}")

    def optimizer(self, model: Adapted, lr: float, **adamw: Any) -> GaLoreAdamW:
        """GaLore's AdamW over the matrices."""
        weights = list(self.trained(model).values())
        return GaLoreAdamW(weights, lr, self.rank, self.update_proj_gap, self.scale, **adamw)

    def optimizer_bytes(self, shapes: Shapes) -> int:
        """Float32 state: P, and two moments of the projected gradient, Σ 4·r·(min(m, n) + 2·max(m, n))."""
        return sum(4 * self.rank * (min(shapes[name]) + 2 * max(shapes[name])) for name in self.targets(shapes))
