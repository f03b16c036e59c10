"""The table of a replay: its numbers follow from the runs."""

import numpy as np
import pytest

from sweeps.bench import regret_table
from sweeps.bench.intervals import difference
from sweeps.bench.landscapes import Landscape
from sweeps.space import Space


@pytest.fixture
def landscape():
    space = Space({"rank": ["1", "2", "4", "8"], "lr": ["1e-5", "1e-4", "1e-3", "1e-2", "1e-1"]})
    return Landscape("small", space, np.arange(20.0), "lora", "points")


def test_the_table_tells_regret_rank_and_significance(landscape):
    # good finds the best (regret 0) in every seed, bad what lies 1 to 6 below it
    runs = [_run("random", seed, [2.0, 18.0 - seed]) for seed in range(6)] + [_run("good", s, [2.0, 19.0]) for s in range(6)]
    text = regret_table.text([landscape], runs, 2)
    random, good = (line for line in text.splitlines() if line.startswith(("| random", "| good")))
    assert "| 3.5 [" in random
    assert "| 0 [0, 0] | 1.00 |" in good and "| 17 [17, 17] |" in good
    assert "* random: median -3.5 [" in text and "p = 0.016" in text  # one of the 64 signs of six differences
    assert "* good: median 3.5 [" in regret_table.text([landscape], runs, 2, focus="random")


def test_the_difference_of_medians_is_of_the_same_seeds():
    lower, upper = [1.0, 2.0, 3.0, 40.0, 50.0], [2.0, 3.0, 4.0, 41.0, 51.0]
    assert difference(lower, upper) == (-1.0, -1.0, -1.0)
    assert difference(lower, [*upper[:-1], upper[-1] + len(upper)], np.mean)[0] == pytest.approx(-2)
    value, low, high = difference(lower, upper[::-1])
    assert value == -1 and low < -10 and high > 10


def test_only_seeds_that_all_methods_have_are_compared(landscape):
    runs = [_run("random", seed, [18.0, 18.0]) for seed in range(4)] + [_run("good", 2, [19.0, 19.0])]
    assert "1 seeds" in regret_table.text([landscape], runs, 2)


def test_a_budget_of_one_is_shown_after_one(landscape):
    assert "| after 1 | after 1 |" in regret_table.text([landscape], [_run("random", 0, [18.0])], 1)


def _run(method, seed, scores):
    run = {"table": "small", "method": method, "seed": seed, "budget": 2}
    return run | {"scores": scores, "candidates": [0, 1], "seconds": [0.1]}
