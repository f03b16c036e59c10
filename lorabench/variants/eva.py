"""EVA: A starts as the directions in which the layer's inputs vary most."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from transformers import PreTrainedModel

from lorabench.training import svd
from lorabench.training.calibration import Calibration
from lorabench.variants.from_data import FromData, Start


@dataclass(kw_only=True)
class EVA(FromData):
    """X − 1x̄ᵀ = UΣVᵀ of a layer's inputs X [tokens, n]; A = V_rᵀ, B = 0 (Paischer et al. 2024, arXiv 2410.07170).

    Every matrix has rank r, ρ = 1 of the paper. Its ρ = 2, which PEFT has by default, moves ranks between the layers by
    explained variance: how much is trained would then depend on the samples and not on the rank alone.

    The inputs are centred and have prompt and target, as in the authors' code and its runs on mathematics (PEFT's default
    leaves the prompt out). V is that of all samples together, to which the authors' incremental SVD of minibatches converges;
    it stops where no direction turns by a cosine below τ = 0.99, here the number of samples is given.
    """

    version: ClassVar[int] = 1

    def starts(self, model: PreTrainedModel, names: Sequence[str], calibration: Calibration) -> Iterator[tuple[str, Start]]:
        """The r leading directions of each layer's inputs; layers that share inputs share them."""
        for name, gram in calibration.input_grams(model, names, self.samples, with_ones):
            _, _, vt = svd.from_cache(svd.largest, scatter(gram.to(model.device)), rank=self.rank)
            yield name, (vt, None)


def with_ones(inputs: torch.Tensor) -> torch.Tensor:
    """[X, 1]: its Gram matrix has XᵀX, the column sums of X, and the number of rows."""
    return torch.cat([inputs, torch.ones_like(inputs[:, :1])], dim=1)


def scatter(gram: torch.Tensor) -> torch.Tensor:
    """(X − 1x̄ᵀ)ᵀ(X − 1x̄ᵀ) [n, n] from the Gram matrix [n + 1, n + 1] of [X, 1].

    >>> x = torch.tensor([[1.0, 2.0], [3.0, 2.0]])
    >>> rows = with_ones(x)
    >>> scatter(rows.T @ rows)
    tensor([[2., 0.],
            [0., 0.]])
    """
    sums = gram[:-1, -1]
    return gram[:-1, :-1] - torch.outer(sums, sums) / gram[-1, -1]
