"""A part of the samples at random."""

from lorabench.subsets.base import Subset


class Random(Subset):
    """The beginning of the cell's samples, which are in seeded random order already."""

    def order(self, base, corpus, chosen, validation, generator):
        """See ``Subset.order``."""
        return list(chosen)
