"""The grid sweeper against Hydra's own composition."""

import pytest
from omegaconf import OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from sweeps.errors import SweepError


def test_the_command_line_wins_over_the_experiment_and_the_last_axis_varies_fastest(sweeper):
    grid, _ = sweeper
    assert grid.expand(["variant=lora,pissa"]) == [
        ["lr=0.001", "variant=lora"],
        ["lr=0.001", "variant=pissa"],
        ["lr=0.002", "variant=lora"],
        ["lr=0.002", "variant=pissa"],
    ]
    assert grid.expand(["lr=5e-3", "seed=range(0,3)"]) == [["lr=0.005", f"seed={s}"] for s in range(3)]


LISTED = [
    "a,b",
    "[q_proj",
    'say "x"',
    "it's",
    "a=b",
    "Größe (1)",
    "plain",
    "a\\b",
    'c\\"d',
    "",
    "range(1,3)",
    ["q_proj", "a,b", 'x"]'],
    [],
    {"a": "x,y", "b": [1, "z=1"]},
    None,
    True,
    3,
    1e-5,
]


@pytest.mark.parametrize("items", [LISTED, OmegaConf.create(LISTED)], ids=["list", "OmegaConf"])
def test_items_of_a_list_of_an_experiment_stay_whole(sweeper, items):
    grid, _ = sweeper
    grid.params = {"+variant.extra": items}
    configs = grid.composition.configs(grid.expand([]))
    assert [OmegaConf.to_container(config)["variant"]["extra"] for config in configs] == LISTED


def test_a_text_of_an_experiment_is_in_hydras_syntax_and_so_is_an_item_that_is_one_value(sweeper):
    grid, _ = sweeper
    grid.params = {"lr": "1e-3,2e-3", "variant.target_modules": ["[q_proj]", "[q_proj,v_proj]"], "seed": "range(0,2)"}
    cells = grid.composition.configs(grid.expand([]))
    assert [cell.variant.target_modules for cell in cells[::2]] == [["q_proj"], ["q_proj", "v_proj"]] * 2
    assert [cell.seed for cell in cells] == [0, 1] * 4


def test_a_list_without_items_has_no_values(sweeper):
    grid, _ = sweeper
    grid.params = {"lr": []}
    with pytest.raises(SweepError, match="lr has no values to choose from"):
        grid.expand([])


def test_fast_composition_equals_hydras(sweeper):
    grid, loader = sweeper
    cells = grid.expand(["variant=lora,pissa", "rank=4,8", "trainer.max_length=64", "+variant.extra=3", "train_samples=null,5"])
    for cell, config in zip(cells, grid.composition.configs(cells), strict=True):
        whole = loader.load_sweep_config(grid.job_config, list(cell))
        with read_write(whole), open_dict(whole):
            del whole["hydra"]
        assert OmegaConf.to_yaml(config, resolve=True) == OmegaConf.to_yaml(whole, resolve=True)


@pytest.mark.parametrize("override", ["lr=abc", "no_such_key=1", "trainer.no_such_key=1"])
def test_fast_composition_keeps_the_schema(sweeper, override):
    with pytest.raises(OmegaConfBaseException):
        sweeper[0].composition.configs([[override]])


def test_cells_whose_scores_are_at_hand_are_not_launched(app):
    (app.folder / "finished.txt").write_text("8 0.0003 7.5\n")
    done = app("lr=1e-4,3e-4,1e-3", "rank=8", method="grid")
    assert done.returncode == 0, done.stderr
    assert app.calls() == ["8 8 0.0001", "8 8 0.001"]
    results = app.results()
    assert (results["best_evaluated_params"]["lr"], results["best_evaluated_result"], results["evaluations"]) == (
        0.0003,
        7.5,
        3,
    )
