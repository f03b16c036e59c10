"""What a choice of training data is: an order of the cell's samples, of which a proxy takes the beginning."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch

from lorabench.models.base import Base
from lorabench.training.data import Corpus


@dataclass
class Subset(ABC):
    """A choice. The order does not depend on the fraction, so that a smaller fraction is part of a larger one.

    Attributes:
        version: of the choice's code, see ``Variant``.
        name: as on the command line.
    """

    version: ClassVar[int] = 1

    name: str

    @abstractmethod
    def order(
        self, base: Base, corpus: Corpus, chosen: Sequence[int], validation: Corpus, generator: torch.Generator
    ) -> list[int]:
        """Return ``chosen`` in the order in which the samples are to be taken.

        Args:
            base: the untouched model.
            corpus: the training texts.
            chosen: the cell's samples, positions in ``corpus`` in the seeded order of ``training.data.subset``.
            validation: texts like those that the tuned model is to answer.
            generator: of all draws.
        """

    def part(
        self,
        fraction: float,
        base: Base,
        corpus: Corpus,
        chosen: Sequence[int],
        validation: Corpus,
        generator: torch.Generator,
    ) -> list[int]:
        """The samples of a cell: all that were ``chosen``, in their order, for a fraction of 1; at least one."""
        if fraction == 1:
            return list(chosen)
        return self.order(base, corpus, chosen, validation, generator)[: max(1, round(fraction * len(chosen)))]
