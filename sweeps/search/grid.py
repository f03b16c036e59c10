"""The candidates in their order, the last axis fastest."""

from collections.abc import Sequence

from sweeps.search.base import Observation, Search, untried


class GridOrder(Search):
    """The first candidate that was not tried."""

    def ask(self, history: Sequence[Observation]) -> int:
        """See ``Search.ask``."""
        return int(untried(self.space, history).argmax())
