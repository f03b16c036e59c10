"""Every experiment yaml composes, and states the number of cells that it has."""

import math
import re
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser

from lorabench.cell import Cell

CONF = Path(__file__).resolve().parents[2] / "conf"
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


@pytest.mark.parametrize("file", EXPERIMENTS, ids=lambda file: file.stem)
def test_every_point_of_every_axis_composes_and_is_valid(file):
    stated = int(re.search(r"^# (\d+) cells: python -m lorabench \+experiment=(\w+) -m$", file.read_text(), re.M).group(1))
    name = f"+experiment={file.relative_to(CONF / 'experiment').with_suffix('')}"
    with initialize_config_dir(str(CONF), version_base="1.3"):
        params = compose("config", [name], return_hydra_config=True).hydra.sweeper.params
        swept = OverridesParser.create().parse_overrides([f"{key}={value}" for key, value in params.items()])
        axes = {o.key_or_group: list(o.sweep_string_iterator()) if o.is_sweep_override() else [o.value()] for o in swept}
        assert math.prod(len(values) for values in axes.values()) == stated
        assert all(len(set(map(str, values))) == len(values) for values in axes.values())
        first = {key: values[0] for key, values in axes.items()}
        for key, values in axes.items():
            for value in values:
                point = [f"{k}={v}" for k, v in {**first, key: value}.items()]
                Cell.of(compose("config", [name, *point])).check(resources=False)
