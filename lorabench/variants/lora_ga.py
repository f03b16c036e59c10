"""LoRA-GA: the adapter starts along the gradient of the full weight."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from transformers import PreTrainedModel

from lorabench.errors import UserError
from lorabench.models.shapes import Shapes
from lorabench.training import svd
from lorabench.training.calibration import Calibration
from lorabench.variants.from_data import FromData, Start

# The authors' code: a randomised SVD of 4r vectors, 4 power iterations.
OVERSAMPLING, ITERATIONS = 4, 4


@dataclass(kw_only=True)
class LoRAGA(FromData):
    """∂loss/∂W = UΣVᵀ; A = c·V[:, :r]ᵀ, B = c·U[:, r:2r], c = m^¼/√γ, W ← W − s·BA (Wang et al. 2024, arXiv 2407.05000).

    The samples are the first of the cell's own subset, so another seed (or data_seed) has another start; paper 1's code takes
    one start, from the first rows of the data set, for all seeds, as subset=first does. The scale c depends on the output size
    m alone, and Σ does not enter. s = alpha / rank as for the other variants. G is the gradient of training's own loss, the
    mean over all target tokens, in float32; paper 1's code averages the means of 16 batches of two in bfloat16, on targets
    without their line end (docs/papers.md).

    Attributes:
        gamma: γ; the larger, the smaller the start.
    """

    version: ClassVar[int] = 1

    gamma: float

    def check(self, shapes: Shapes) -> None:
        """As for every start from data; every gradient must have 2r singular triples."""
        super().check(shapes)
        if not 0 < self.gamma < math.inf:
            raise UserError(f"variant.gamma={self.gamma} must be positive")
        for name in self.targets(shapes):
            m, n = shapes[name]
            if 2 * self.rank > min(m, n):
                raise UserError(
                    f"rank={self.rank}: variant={self.name} needs 2 x rank singular vectors, and {name} ({m} x {n}) has "
                    f"{min(m, n)}; use rank <= {min(m, n) // 2}"
                )

    def starts(self, model: PreTrainedModel, names: Sequence[str], calibration: Calibration) -> Iterator[tuple[str, Start]]:
        """From the gradients; only the factors are kept of them."""
        for name, gradient in calibration.gradients(model, names, self.samples):
            yield name, self._start(gradient.to(model.device))

    def _start(self, gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """A [r, n] and B [m, r] from G [m, n]. Not cached: the decomposition costs less than the gradient."""
        width = min(OVERSAMPLING * self.rank, *gradient.shape)
        u, _, vt = svd.randomized(gradient, width, ITERATIONS)
        scale = gradient.shape[0] ** 0.25 / self.gamma**0.5
        return scale * vt[: self.rank], scale * u[:, self.rank : 2 * self.rank]
