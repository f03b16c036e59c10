"""Finalists, how long a cell takes, the last command."""

import json
import shlex
from pathlib import Path

import pytest

from lorabench.errors import UserError
from lorabench.tune.answers import Candidate, beside, final_command, finalists, seconds


def ranked(*names):
    """Candidates of these variants, the best first."""
    return [Candidate({"variant": name, "lr": f"{n}e-3"}, 1 - n / 10, 1) for n, name in enumerate(names, 1)]


def test_the_best_lora_is_a_finalist_beside_another_best():
    order = ranked("pissa", "dora", "lora", "lora")
    assert finalists(order) == [order[0], order[2]]


def test_the_best_of_the_others_is_one_beside_lora():
    order = ranked("lora", "lora", "dora", "pissa")
    assert finalists(order) == [order[0], order[2]]


def test_without_lora_another_method_is():
    order = ranked("pissa", "pissa", "dora")
    assert finalists(order) == [order[0], order[2]]


def test_of_one_method_the_two_best_are():
    for names in (("lora", "lora", "lora"), ("pissa", "pissa")):
        order = ranked(*names)
        assert finalists(order) == order[:2]
    assert finalists(ranked("lora")) == ranked("lora")


LISTED = ("1e-3", "2e-3", "3.5566e-3", "6.3246e-3")


def tried(**curves):
    """Candidates by variant: validation by the place of the learning rate."""
    flat = [
        Candidate({"variant": name, "rank": "8", "lr": LISTED[place]}, score, 1)
        for name, curve in curves.items()
        for place, score in curve.items()
    ]
    return sorted(flat, key=lambda one: -one.validation)


def test_the_rival_is_tried_first_and_where_the_best_is():
    assert beside(tried(pissa={2: 0.9}, lora={0: 0.1}), LISTED) == {"variant": "lora", "rank": "8", "lr": "3.5566e-3"}
    assert beside(tried(pissa={1: 0.9}, lora={1: 0.5, 3: 0.3}), LISTED)["lr"] == "1e-3", "where nothing was tried"
    assert beside(tried(pissa={1: 0.9}, lora={0: 0.3, 1: 0.5}), LISTED)["lr"] == "3.5566e-3"
    assert beside(tried(pissa={2: 0.9}, lora={0: 0.1, 2: 0.5}), LISTED)["lr"] == "6.3246e-3"
    ranked = tried(pissa={2: 0.9}, lora={0: 0.4, 2: 0.5, 3: 0.1})
    assert beside(ranked, LISTED) == {"variant": "lora", "rank": "8", "lr": "2e-3"}
    ranked = tried(pissa={1: 0.9, 2: 0.1}, lora={0: 0.4, 1: 0.5, 2: 0.4})
    assert beside(ranked, LISTED) == {"variant": "pissa", "rank": "8", "lr": "1e-3"}, "then the best itself"


def test_beyond_the_list_the_steps_go_on():
    ranked = tried(lora={0: 0.1, 1: 0.2, 2: 0.3, 3: 0.4}, pissa={0: 0.1, 1: 0.2, 2: 0.1, 3: 0.1})
    assert beside(ranked, LISTED) == {"variant": "lora", "rank": "8", "lr": "1.1247e-2"}


def test_between_its_neighbours_nothing_is_left():
    assert beside(tried(lora={0: 0.1, 1: 0.9, 2: 0.1}, dora={1: 0.1, 2: 0.3, 3: 0.2}), LISTED) is None


def test_both_sides_untried_the_higher_is_first():
    assert beside(tried(lora={1: 0.9}), LISTED)["lr"] == "3.5566e-3"


def test_another_rank_is_another_curve():
    ranked = [*tried(lora={1: 0.9, 2: 0.2}), Candidate({"variant": "lora", "rank": "32", "lr": "1e-3"}, 0.1, 1)]
    assert beside(ranked[:2], LISTED)["lr"] == "1e-3"
    assert [one.overrides["rank"] for one in ranked] == ["8", "8", "32"]
    assert beside(ranked, LISTED) == {"variant": "lora", "rank": "8", "lr": "1e-3"}


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
