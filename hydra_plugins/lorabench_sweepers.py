"""The shim that Hydra demands: it finds a sweeper only as a class defined in the namespace package ``hydra_plugins``."""

from sweeps.sweepers import grid, search


class GridSweeper(grid.GridSweeper):
    """See ``sweeps.sweepers.grid.GridSweeper``."""


class SearchSweeper(search.SearchSweeper):
    """See ``sweeps.sweepers.search.SearchSweeper``."""
