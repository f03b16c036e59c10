"""The shim that Hydra demands: it finds a sweeper only as a class defined in the namespace package ``hydra_plugins``.

Hydra imports this file at every start, so the sweepers behind it, and what they need, are imported when one of them is made.
"""

from typing import Any

from hydra.plugins.sweeper import Sweeper


class _Shim(Sweeper):
    """Stands for a sweeper until it is made; none of these is ever called."""

    def setup(self, **kwargs: Any) -> None:
        """See the sweeper."""
        raise NotImplementedError

    def sweep(self, arguments: list[str]) -> Any:
        """See the sweeper."""
        raise NotImplementedError


class GridSweeper(_Shim):
    """Makes a ``sweeps.sweepers.grid.GridSweeper``."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        """The sweeper."""
        from sweeps.sweepers import grid

        return grid.GridSweeper(*args, **kwargs)


class SearchSweeper(_Shim):
    """Makes a ``sweeps.sweepers.search.SearchSweeper``."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        """The sweeper."""
        from sweeps.sweepers import search

        return search.SearchSweeper(*args, **kwargs)
