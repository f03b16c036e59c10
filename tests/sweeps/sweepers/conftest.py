"""A grid sweeper that launches nothing."""

from pathlib import Path

import pytest
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode

from lorabench import schema
from sweeps.sweepers.composition import Composition
from sweeps.sweepers.grid import GridSweeper

CONF = Path(__file__).resolve().parents[3] / "conf"


@pytest.fixture
def sweeper():
    """A grid sweeper on the project's config, without a launcher, and Hydra's loader."""
    schema.register()
    GlobalHydra.instance().clear()
    hydra = Hydra.create_main_hydra2("test", create_config_search_path(str(CONF)))
    grid = GridSweeper(params={"lr": "1e-3,2e-3"}, preflight=lambda configs, elsewhere: True, first_pass=[])
    grid.job_config = hydra.compose_config("config", [], run_mode=RunMode.MULTIRUN)
    grid.composition = Composition(hydra.config_loader, grid.job_config)
    yield grid, hydra.config_loader
    GlobalHydra.instance().clear()
