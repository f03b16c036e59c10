"""What a choice of training data is: a cell's samples, and an order of them of which a proxy takes the beginning."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from lorabench.models.base import Base
from lorabench.training.data import Corpus, subset


@dataclass
class Subset(ABC):
    """A choice. The order does not depend on the fraction, so that a smaller fraction is part of a larger one.

    Attributes:
        version: of the choice's code, see ``Variant``.
        chooses_samples: whether it has ``samples`` of its own, so that it decides the result of cells that are no proxy, too.
        name: as on the command line.
    """

    version: ClassVar[int] = 1
    chooses_samples: ClassVar[bool] = False

    name: str

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.chooses_samples = cls.samples is not Subset.samples

    def samples(self, size: int, count: int | None, generator: torch.Generator) -> list[int]:
        """``count`` of ``size`` training texts, or all of them: the samples of a cell, drawn at random.

        For one seed, fewer are the head of more.
        """
        return subset(size, count, generator)

    @abstractmethod
    def order(
        self, base: Base, corpus: Corpus, chosen: Sequence[int], validation: Corpus, generator: torch.Generator
    ) -> list[int]:
        """Return ``chosen`` in the order in which the samples are to be taken.

        Args:
            base: the untouched model.
            corpus: the training texts.
            chosen: the cell's samples, positions in ``corpus`` in the order of ``samples``.
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
