"""Random search without replacement (Bergstra & Bengio 2012, JMLR 13)."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from sweeps.search.base import Observation, Search, untried


class Random(Search):
    """One of the untried candidates, all alike."""

    version: ClassVar[int] = 1

    def ask(self, history: Sequence[Observation]) -> int:
        """See ``Search.ask``."""
        return int(self.generator(history).choice(np.flatnonzero(untried(self.space, history))))
