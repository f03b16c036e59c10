"""Optuna's tree-structured Parzen estimator behind the first points of all methods."""

import numpy as np
import pytest

pytest.importorskip("optuna", reason="pip install 'lorabench[search]' brings optuna")

from sweeps.search.base import Observation
from sweeps.search.tpe import TPE
from sweeps.space import Space


def test_the_order_of_axis_values_does_not_matter():
    """Listed ascending or not, numbers are ordered by what they are."""
    lrs = ["1e-4", "1e-3", "1e-2", "1e-1"]
    ascending, descending = Space({"lr": lrs, "rank": ["4", "8"]}), Space({"lr": lrs[::-1], "rank": ["8", "4"]})
    last = len(ascending) - 1
    history = [Observation(i, float(i == 3)) for i in (0, 3, 5)]
    flipped = [Observation(last - candidate, score) for candidate, score in history]
    assert last - TPE(descending, 0).ask(flipped) == TPE(ascending, 0).ask(history)


def test_tpe_asks_its_model_right_behind_the_first_points():
    """A model knows the good end of an axis; chance does not."""
    space = Space({"rank": [str(i) for i in range(100)]})
    history = [Observation(i, float(i)) for i in (5, 25, 45, 65, 96)]
    by_model = [TPE(space, seed, initial=5).ask(history) for seed in range(10)]
    by_chance = [TPE(space, seed, initial=10).ask(history) for seed in range(10)]
    assert np.mean(by_model) > np.mean(by_chance) + 10
