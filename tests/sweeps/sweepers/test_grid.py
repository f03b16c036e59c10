"""The grid sweeper against Hydra's own composition."""

from pathlib import Path

import pytest
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.global_hydra import GlobalHydra
from hydra.types import HydraContext, RunMode
from omegaconf import OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from lorabench import schema
from sweeps.grid import GridSweeper

CONF = Path(__file__).resolve().parents[2] / "conf"


@pytest.fixture
def sweeper():
    """A grid sweeper on the project's config, without a launcher."""
    schema.register()
    GlobalHydra.instance().clear()
    hydra = Hydra.create_main_hydra2("test", create_config_search_path(str(CONF)))
    grid = GridSweeper(params={"lr": "1e-3,2e-3"}, preflight=lambda configs: True, first_pass=[])
    grid.context = HydraContext(config_loader=hydra.config_loader, callbacks=None)
    grid.job_config = hydra.compose_config("config", [], run_mode=RunMode.MULTIRUN)
    yield grid
    GlobalHydra.instance().clear()


def test_the_command_line_wins_over_the_experiment_and_the_last_axis_varies_fastest(sweeper):
    assert sweeper.expand(["variant=lora,pissa"]) == [
        ["lr=0.001", "variant=lora"],
        ["lr=0.001", "variant=pissa"],
        ["lr=0.002", "variant=lora"],
        ["lr=0.002", "variant=pissa"],
    ]
    assert sweeper.expand(["lr=5e-3", "seed=range(0,3)"]) == [["lr=0.005", f"seed={s}"] for s in range(3)]


def test_fast_composition_equals_hydras(sweeper):
    cells = sweeper.expand(
        ["variant=lora,pissa", "rank=4,8", "trainer.max_length=64", "+variant.extra=3", "train_samples=null,5"]
    )
    for cell, config in zip(cells, sweeper.compose(cells), strict=True):
        whole = sweeper.context.config_loader.load_sweep_config(sweeper.job_config, list(cell))
        with read_write(whole), open_dict(whole):
            del whole["hydra"]
        assert OmegaConf.to_yaml(config, resolve=True) == OmegaConf.to_yaml(whole, resolve=True)


@pytest.mark.parametrize("override", ["lr=abc", "no_such_key=1", "trainer.no_such_key=1"])
def test_fast_composition_keeps_the_schema(sweeper, override):
    with pytest.raises(OmegaConfBaseException):
        sweeper.compose([[override]])
