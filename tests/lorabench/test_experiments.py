"""Every experiment yaml composes, and states the number of cells that it has."""

import math
import re

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from lorabench.cells.cell import Cell
from lorabench.cells.checks import check
from lorabench.cells.session import current
from lorabench.schema import CONF
from sweeps.space import derive, factors

EXPERIMENTS = sorted((CONF / "experiment").rglob("*.yaml"))


def test_the_papers_experiments_are_there():
    names = {file.stem for file in EXPERIMENTS}
    assert {
        "gemma_math_lrsweep",
        "qwen_math_lrsweep",
        "gemma_math_rank",
        "gemma_code_rank",
        "llama7b_math",
        "llama7b_code",
        "llama13b_math",
        "gemma_commonsense",
        "qwen_instruct",
        "gemma_math_largebatch",
        "math_duration",
        "tiny_lrsweep",
    } <= names


FIVE = {"lora", "pissa", "milora", "init_ab", "dora"}
TEN = FIVE | {"olora", "lora_ga", "gralora", "randlora", "loft"}
PAPER = {  # paper 1's grids: variants, first and last lr, how many, ranks, batch sizes, seeds
    "gemma_math_lrsweep": (FIVE, 1.1247e-5, 6.3246e-3, 12, {128}, {16, 64, 128}, 3),
    "gemma_math_rank": (FIVE, 1.1247e-5, 6.3246e-3, 12, {4, 8, 16, 32, 64, 128, 256}, {64}, 3),
    "gemma_math_largebatch": ({"lora", "pissa"}, 1.1247e-5, 6.3246e-3, 12, {128}, {512}, 3),
    "gemma_code_rank": (FIVE, 1.1247e-5, 6.3246e-3, 12, {4, 8, 16, 32, 64, 128, 256}, {64}, 3),
    "gemma_commonsense": (TEN, 2e-6, 2e-2, 17, {4}, {64}, 3),
    "qwen_math_lrsweep": (FIVE, 1.1247e-5, 6.3246e-3, 12, {8}, {16, 64, 128}, 3),
    "qwen_math_rank128": (TEN, 2e-6, 6.3246e-3, 15, {128}, {64}, 3),
    "llama7b_math": (FIVE, 2e-5, 3.5566e-3, 10, {8, 32, 128}, {16, 128}, 1),
    "llama7b_code": (FIVE, 2e-5, 3.5566e-3, 10, {8, 32, 128}, {16, 128}, 1),
    "llama13b_math": (FIVE, 2e-5, 2e-3, 9, {8, 128}, {64}, 1),
}


def axes_of(file):
    name = f"+experiment={file.relative_to(CONF / 'experiment').with_suffix('')}"
    with initialize_config_dir(str(CONF), version_base="1.3"):
        composed = compose("config", [name], return_hydra_config=True)
    swept = OverridesParser.create().parse_overrides([f"{key}={value}" for key, value in composed.hydra.sweeper.params.items()])
    axes = {o.key_or_group: list(o.sweep_string_iterator()) if o.is_sweep_override() else [o.value()] for o in swept}
    return name, axes, composed


@pytest.mark.parametrize("name", PAPER)
def test_grids_are_the_papers(name):
    variants, first, last, count, ranks, batch_sizes, seeds = PAPER[name]
    _, axes, composed = axes_of(CONF / "experiment" / f"{name}.yaml")
    values = {key: {type(composed[key])(v) for v in axes.get(key, [composed[key]])} for key in ("rank", "batch_size", "seed")}
    assert set(axes["variant"]) == variants
    assert (values["rank"], values["batch_size"], len(values["seed"])) == (ranks, batch_sizes, seeds)
    grid = [float(lr) for lr in axes["lr"]]
    assert (grid[0], grid[-1], len(grid)) == (first, last, count)
    ratios = [b / a for a, b in zip(grid, grid[1:], strict=False)]
    assert all(ratio == pytest.approx(10**0.25, rel=1e-3) for ratio in ratios)


@pytest.mark.parametrize("file", EXPERIMENTS, ids=lambda file: file.stem)
def test_every_point_of_every_axis_composes_and_is_valid(file):
    command = r"^# (\d+) (?:cells|candidates): python -m lorabench \+experiment=(\w+) (?:hydra/sweeper=\w+ )?-m$"
    stated, named = re.search(command, file.read_text(), re.M).groups()
    assert named == file.stem
    name, axes, composed = axes_of(file)
    derived = {key: factors(rule) for key, rule in (composed.hydra.sweeper.derived or {}).items()}
    hidden = [key for names in derived.values() for key in names if OmegaConf.select(composed, key) is None]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        assert math.prod(len(values) for values in axes.values()) == int(stated)
        assert all(len(set(map(str, values))) == len(values) for values in axes.values())
        first = {key: values[0] for key, values in axes.items()}
        for key, values in axes.items():
            for value in values:
                point = [f"{k}={v}" for k, v in derive({**first, key: value}, derived, hidden).items()]
                check(Cell.of(compose("config", [name, *point]), current()), resources=False)
