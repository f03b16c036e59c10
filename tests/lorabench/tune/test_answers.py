"""Finalists, how long a cell takes, the last command."""

import json
import shlex
from pathlib import Path

import pytest

from lorabench.errors import UserError
from lorabench.tune.answers import Candidate, final_command, finalists, seconds


def ranked(*names):
    """Candidates of these variants, the best first."""
    return [Candidate({"variant": name, "lr": f"{n}e-3"}, 1 - n / 10, 1) for n, name in enumerate(names, 1)]


def test_the_best_lora_is_a_finalist_beside_another_best():
    order = ranked("pissa", "dora", "lora", "lora")
    assert finalists(order) == [order[0], order[2]]


def test_the_best_of_the_others_is_one_beside_lora():
    order = ranked("lora", "lora", "dora", "pissa")
    assert finalists(order) == [order[0], order[2]]


def test_of_one_method_the_two_best_are():
    for names in (("lora", "lora", "lora"), ("pissa", "pissa")):
        order = ranked(*names)
        assert finalists(order) == order[:2]
    assert finalists(ranked("lora")) == ranked("lora")


def test_a_cell_takes_the_median(tmp_path):
    for name, took in (("a", 10.0), ("b", 30.0), ("c", 11.0)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "record.json").write_text(
            json.dumps({"training": {"seconds": took}, "evaluation": {"seconds": 2.0}})
        )
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "record.json").write_text("[]")
    assert seconds(tmp_path) == 13.0
    with pytest.raises(UserError, match="--budget N instead"):
        seconds(tmp_path / "a")


def test_the_last_command_can_be_pasted():
    line = final_command(["data=my data.csv", "task.template='Q: {q}'"], {"variant": "pissa", "lr": "1e-3"}, Path("there"))
    assert shlex.split(line) == [
        "lorabench", "run", "data=my data.csv", "task.template='Q: {q}'", "variant=pissa", "lr=1e-3", "seed=0",
        "save_adapter=true", "output_dir=there/final",
    ]  # fmt: skip
