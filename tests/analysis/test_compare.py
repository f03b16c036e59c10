"""Two result sets: what differs beyond noise and what does not."""

import shutil

import numpy as np
import pytest
from scipy import stats

from analysis.compare import compare, text
from analysis.errors import AnalysisError
from analysis.load import load_records
from analysis.published import PUBLISHED


@pytest.fixture
def other(runs, tmp_path):
    """A second folder, into which everything written so far is moved by calling it."""

    def move():
        target = tmp_path / "other"
        shutil.move(runs, target)
        runs.mkdir()
        return target

    return move


def test_the_same_cells_are_the_same(runs, answered, other):
    for seed in range(2):
        answered("lora", 2e-3, seed, [1.0, 0.0, 1.0])
    folder = other()
    for seed in range(2):
        answered("lora", 2e-3, seed, [1.0, 0.0, 1.0])
    found = compare(load_records(folder), load_records(runs))
    assert found["same"].all() and (found["p"] == 1).all()
    assert "2 cells in both; 2 the same on every problem; 0 differ beyond noise." in text(found, ("A", "B"))


def test_mcnemars_test_of_the_problems_that_changed(runs, answered, other):
    answered("lora", 2e-3, 0, [1.0] * 20 + [0.0] * 20)
    folder = other()
    answered("lora", 2e-3, 0, [1.0] * 19 + [0.0] + [1.0] * 11 + [0.0] * 9)
    (row,) = compare(load_records(folder), load_records(runs)).to_dict("records")
    assert row["how"] == "mcnemar" and row["p"] == pytest.approx(stats.binomtest(11, 12).pvalue)
    assert row["difference"] == pytest.approx(0.25)


def test_proportions_where_there_are_no_completions(runs, write, other):
    write("lora", 2e-3, 0, 0.50)
    folder = other()
    write("lora", 2e-3, 0, 0.65)
    (row,) = compare(load_records(folder), load_records(runs)).to_dict("records")
    z = 0.15 / np.sqrt(0.575 * 0.425 * 2 / 200)
    assert row["how"] == "proportions" and row["p"] == pytest.approx(2 * stats.norm.sf(z))


def test_chance_alone_is_seldom_called_a_difference(runs, answered, other):
    generator = np.random.default_rng(0)

    def thirty():
        for seed in range(30):
            answered("lora", 2e-3, seed, (generator.random(100) < 0.5).astype(float).tolist())

    thirty()
    folder = other()
    thirty()
    found = compare(load_records(folder), load_records(runs))
    assert len(found) == 30 and (found["p"] < 0.05).sum() <= 1


def test_own_seeds_against_published_means(runs, write):
    published = load_records(PUBLISHED)
    config = {"model": {"name": "gemma-3-1b"}, "task": {"name": "math"}, "rank": 128, "train_samples": 100000}
    theirs = published[
        (published["model"] == "gemma-3-1b") & (published["batch_size"] == 16) & (published["variant"] == "lora")
    ]
    near, far = theirs.iloc[4], theirs.iloc[5]
    for seed, error in enumerate((-0.001, 0.0, 0.001)):
        write("lora", near["lr"] * 1.0002, seed, near["test"] + error, config=config)
        write("lora", far["lr"], seed, far["test"] + 0.2 + error, config=config)
    found = compare(load_records(runs), published).sort_values("lr")
    assert found["how"].tolist() == ["seeds", "seeds"]
    assert found["p"].iloc[0] > 0.5 and found["p"].iloc[1] < 0.01
    shown = text(found, ("ours", "paper"))
    assert "A: ours" in shown and "2 cells in both" in shown and "1 differ beyond noise" in shown


def test_nothing_in_common_is_one_line(runs, write):
    write("lora")
    with pytest.raises(AnalysisError, match=r"no cell in common: A has 1 cells of tiny · arithmetic; B has 999 cells of"):
        compare(load_records(runs), load_records(PUBLISHED))


def test_settings_that_only_differ_between_the_two_are_told(runs, answered, other):
    """Within each set they are the same, so no column holds them."""
    answered("lora", 2e-3, 0, [1.0, 0.0, 1.0], config={"trainer": {"warmup_ratio": 0.03}})
    answered("lora", 2e-4, 0, [1.0, 0.0, 1.0], config={"trainer": {"warmup_ratio": 0.03}})
    folder = other()
    answered("lora", 2e-3, 0, [1.0, 0.0, 1.0], config={"trainer": {"warmup_ratio": 0.1}})
    found = compare(*(load_records(each, wide=True) for each in (folder, runs)))
    assert found.attrs["unlike"] == ["trainer.warmup_ratio 0.03 | 0.1"] and found.attrs["alone"] == (1, 0)
    shown = text(found, ("A", "B"))
    assert "Other settings: trainer.warmup_ratio 0.03 | 0.1." in shown and "Only in A: 1; only in B: 0." in shown


def test_thousands_of_cells_are_matched_without_trying_every_pair(runs, write, monkeypatch):
    for lr in (1e-3, 2e-3):
        for seed in range(40):
            write("lora", lr, seed, 0.5)
    frame, tried = load_records(runs), []
    monkeypatch.setattr("analysis.compare.math.isclose", lambda a, b, rel_tol: tried.append(a) or abs(a - b) <= rel_tol * a)
    assert len(compare(frame, frame)) == 80
    assert len(tried) == 80 * 2
