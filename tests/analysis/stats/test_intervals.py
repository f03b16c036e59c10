"""The interval of one mean, against scipy and against the paired difference to nothing."""

import gzip
import json
import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.read.load import load_records
from analysis.stats.intervals import interval
from analysis.stats.paired import difference


def frame(scores, **columns):
    n = len(scores)
    return pd.DataFrame(
        {
            "status": ["complete"] * n,
            "n": [1] * n,
            "test": scores,
            "test_std": [math.nan] * n,
            "path": ["nowhere/record.json"] * n,
        }
        | columns
    ).to_dict("records")


def test_of_seeds_is_students():
    scores = [0.7, 0.74, 0.69, 0.8]
    low, high, how = interval(frame(scores), float(np.mean(scores)))
    expected = stats.t.interval(0.95, 3, loc=np.mean(scores), scale=stats.sem(scores))
    assert (low, high) == pytest.approx(expected) and how == "seeds"


def test_a_published_mean_brings_its_deviation():
    low, high, how = interval(frame([0.5], n=[3], test_std=[0.02]), 0.5)
    assert (low, high) == pytest.approx(stats.t.interval(0.95, 2, loc=0.5, scale=0.02 / math.sqrt(3))) and how == "seeds"


@pytest.mark.parametrize("cells", [frame([0.5]), frame([0.5], n=[3])])
def test_one_seed_has_none(cells):
    assert all(map(math.isnan, interval(cells, 0.5)[:2]))


def test_it_stays_among_scores():
    low, high, _ = interval(frame([0.99, 1.0]), 0.995)
    assert (low, high) != (0.0, 1.0) and 0 <= low < high == 1.0


@pytest.fixture
def answered(runs, write):
    """Three seeds with completions."""
    table = np.random.default_rng(0).random((3, 50)) < 0.7
    for seed, right in enumerate(table):
        path = write("lora", 2e-3, seed, test=float(right.mean()))
        rows = [
            {"split": "test", "set": "a", "id": str(i), "prompt": "", "completion": "", "gold": "", "score": float(r)}
            for i, r in enumerate(right)
        ]
        with gzip.open(path.parent / "completions.jsonl.gz", "wt") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
    return load_records(runs).to_dict("records"), table


def test_with_completions_problems_are_random_too(answered):
    cells, table = answered
    ends = interval(cells, float(table.mean()))
    order = sorted(map(str, range(50)))
    expected = difference([table[:, [int(i) for i in order]].astype(float)]).interval()
    assert ends[:2] == pytest.approx(expected) and ends.how == "problems and seeds"
    assert interval([cell for cell in cells if cell["seed"] == 0], float(table[0].mean())).how == "problems"


def test_completions_of_another_score_are_not_used(answered):
    cells, table = answered
    rescored = [cell | {"test": cell["test"] + 0.01} for cell in cells]
    assert interval(rescored, float(table.mean()) + 0.01).how == "seeds"


def test_a_diverged_seed_has_no_problems(answered):
    cells, _ = answered
    assert interval([*cells[:2], cells[2] | {"status": "diverged"}], 0.5).how == "seeds"
