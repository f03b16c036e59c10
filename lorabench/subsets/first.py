"""The first samples of the training data, in the order of its file."""

from typing import ClassVar

import torch

from lorabench.subsets.random import Random


class First(Random):
    """The first ``train_samples`` texts, whatever the seed, and of a proxy the first part of them.

    Paper 1's runs all take the same rows, of math the first 100,000 (arXiv 2602.04998); what validation holds back is left out
    of them here.
    """

    version: ClassVar[int] = 1

    def samples(self, size: int, count: int | None, generator: torch.Generator) -> list[int]:
        """See ``Subset.samples``."""
        return list(range(size if count is None else count))
