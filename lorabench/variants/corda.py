"""CorDA: the adapter starts as the part of the weight that matters most, or least, on the task's inputs."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from transformers import PreTrainedModel

from lorabench.errors import UserError, nearest
from lorabench.models.shapes import Shapes, matrix
from lorabench.training import svd
from lorabench.training.calibration import Calibration
from lorabench.variants.from_data import FromData, Start

DECOMPOSE = {"ipm": svd.largest, "kpm": svd.smallest}


@dataclass(kw_only=True)
class CorDA(FromData):
    """WC = UΣVᵀ; A = √(Σ_r/s)·V_rᵀC⁻¹, B = U_r·√(Σ_r/s), W ← W − s·BA (Yang et al. 2024, arXiv 2406.05223).

    C = Σ XᵀX / samples of the layer's inputs X [tokens, n] of each sample, divided by their largest entry, plus ``damping``
    times the mean of its diagonal on the diagonal: as in the authors' code, which also doubles the damping where float32
    inverts C badly. In float64, as here, it never does.

    The samples are the cell's own. The paper takes these for ``ipm``, and questions about the knowledge that is to be kept for
    ``kpm``, which no cell has: ``kpm`` here keeps what the base does on the task's inputs.

    Attributes:
        mode: ``ipm`` trains the r largest triples (instruction-previewed), ``kpm`` the r smallest (knowledge-preserved).
        damping: share of the mean of C's diagonal that is added to it.
    """

    version: ClassVar[int] = 1

    mode: str
    damping: float

    def check(self, shapes: Shapes) -> None:
        """As for every start from data; the mode is one of two."""
        super().check(shapes)
        if self.mode not in DECOMPOSE:
            raise UserError(f"variant.mode={self.mode} is unknown; {nearest(self.mode, DECOMPOSE)}")
        if not 0 < self.damping < math.inf:
            raise UserError(f"variant.damping={self.damping} must be positive")

    def starts(self, model: PreTrainedModel, names: Sequence[str], calibration: Calibration) -> Iterator[tuple[str, Start]]:
        """From the inputs and the weight of each matrix."""
        for name, gram in calibration.input_grams(model, names, self.samples, scaled):
            weight = matrix(model.get_submodule(name)).detach()
            yield name, self._start(name, weight, gram.to(model.device) / min(self.samples, len(calibration.indices)))

    def _start(self, name: str, weight: torch.Tensor, covariance: torch.Tensor) -> Start:
        """A [r, n] and B [m, r] from W [m, n] and C [n, n] without damping."""
        if not covariance.isfinite().all():
            raise UserError(f"variant={self.name}: the inputs of {name} on the samples have no finite covariance")
        identity = torch.eye(len(covariance), dtype=covariance.dtype, device=covariance.device)
        damped = covariance + self.damping * covariance.diagonal().mean() * identity
        u, sigma, vt = svd.from_cache(DECOMPOSE[self.mode], weight.double() @ damped, rank=self.rank)
        a, b = svd.balanced((u, sigma, torch.linalg.solve(damped, vt.T).T), self.scale)
        return a.float(), b.float()


def scaled(inputs: torch.Tensor) -> torch.Tensor:
    """The inputs [time, n] of one sample, divided by their largest entry."""
    return inputs / inputs.max().abs()
