"""A part of the samples at random."""

from collections.abc import Sequence
from typing import ClassVar

import torch

from lorabench.models.base import Base
from lorabench.subsets.base import Subset
from lorabench.training.data import Corpus


class Random(Subset):
    """The beginning of the cell's samples, which are in seeded random order already."""

    version: ClassVar[int] = 1

    def order(
        self, base: Base, corpus: Corpus, chosen: Sequence[int], validation: Corpus, generator: torch.Generator
    ) -> list[int]:
        """See ``Subset.order``."""
        return list(chosen)
