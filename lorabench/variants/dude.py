"""DuDe: DoRA's magnitudes and directions, started from the principal part of the weight."""

from dataclasses import dataclass
from typing import ClassVar

from lorabench.variants.dora import DoRA
from lorabench.variants.pissa import PiSSA


@dataclass(kw_only=True)
class DuDe(DoRA, PiSSA):
    """y = (g / ‖W' + s·BA‖_row)·(W' + s·BA)x, B·A = U_rΣ_rV_rᵀ/s of W, W' = W − s·BA (Han et al. 2025, arXiv 2505.14367).

    The layer, its gradient and what is trained are DoRA's, with g = ‖W‖_row at the start; A, B and W' start as PiSSA's. It is
    saved as DoRA of rank 2r on the untouched base, whose rows have the same sum.

    >>> dude = DuDe(name="dude", rank=2, alpha=4, dropout=0.0, target_modules=["q_proj"], iterations=None)
    >>> dude.trainable_parameters({"layers.0.q_proj": (8, 6)})  # DoRA's
    36
    """

    version: ClassVar[int] = 1
