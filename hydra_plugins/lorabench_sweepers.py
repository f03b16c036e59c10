"""The shim that Hydra demands: it finds a sweeper only as a class defined in the namespace package ``hydra_plugins``."""

import sweeps.grid
import sweeps.sweeper


class GridSweeper(sweeps.grid.GridSweeper):
    """See ``sweeps.grid.GridSweeper``."""


class SearchSweeper(sweeps.sweeper.SearchSweeper):
    """See ``sweeps.sweeper.SearchSweeper``."""
