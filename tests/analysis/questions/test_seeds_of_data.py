"""A data_seed and subset=first are options of a cell, not seeds: curves, suggestions, exports and what ± holds."""

import json

import pytest

from analysis.__main__ import main
from analysis.published import FOLDER as PUBLISHED
from analysis.questions.compare import compare, text
from analysis.questions.suggestions import suggestions
from analysis.read.load import load_records, load_together
from analysis.stats.curves import seed_means

FIRST = {"_target_": "lorabench.subsets.first.First", "name": "first"}


@pytest.fixture
def cell(write):
    """Write the record of a cell that states these, in config and identity."""

    def write_cell(lr=2e-3, seed=0, test=0.5, data_seed=None, first=False, **config):
        config |= {"data_seed": data_seed} | ({"subset": FIRST} if first else {})
        path = write("lora", lr, seed, test, config=config)
        record = json.loads(path.read_text())
        record["identity"] |= {} if data_seed in (None, seed) else {"data_seed": data_seed}
        record["identity"] |= {"sampling": FIRST | {"code": {}}} if first else {}
        path.write_text(json.dumps(record))
        return path

    return write_cell


def test_curves_average_over_seeds_of_one_data_seed(runs, cell):
    for seed in range(2):
        cell(seed=seed, test=0.5)
        cell(seed=seed, test=0.7, data_seed=42, first=True)
    means = seed_means(load_records(runs))
    assert sorted(zip(means["options"], means["test_mean"], means["n"], strict=True)) == [
        ("data_seed=42, sampling=first", pytest.approx(0.7), 2),
        ("data_seed=unset, sampling=unset", pytest.approx(0.5), 2),
    ]


def test_a_suggested_sweep_keeps_both(runs, cell):
    for lr in (1e-3, 2e-3, 4e-3):
        cell(lr, data_seed=42, first=True)
    (sweep,) = suggestions(load_records(runs))
    assert "data_seed=42" in sweep.line.split() and "subset=first" in sweep.line.split()
    cell(8e-3, test=0.9, model={"name": "qwen3-0.6b"})
    lines = [sweep.line for sweep in suggestions(load_records(runs))]
    assert sorted(("data_seed" in line, "subset" in line) for line in lines) == [(False, False), (True, True)]


def test_an_export_has_both_as_columns(runs, cell, tmp_path):
    cell(data_seed=42, first=True)
    main(["export", str(runs), "--out", str(tmp_path / "cells.csv"), "--columns", "seed,data_seed,sampling"])
    assert (tmp_path / "cells.csv").read_text() == "seed,data_seed,sampling\n0,42,first\n"


@pytest.mark.parametrize(
    ("data_seeds", "line"),
    [
        ((None, None), "A: initialisation and dropout, samples and order; B:"),
        ((42, 42), "A: initialisation and dropout (data_seed is one for all seeds); B:"),
    ],
)
def test_compare_says_which_noise_each_side_holds(runs, cell, data_seeds, line):
    published = load_together([PUBLISHED])[0]
    row = published[(published["model"] == "gemma-3-1b") & (published["variant"] == "lora")].iloc[0]
    names = {"model": {"name": row["model"]}, "task": {"name": row["task"]}}
    sizes = {key: int(row[key]) for key in ("rank", "batch_size", "train_samples")}
    for seed, data_seed in enumerate(data_seeds):
        cell(row["lr"], seed, 0.3 + seed / 100, data_seed, **names, **sizes)
    shown = text(compare(*load_together([runs, PUBLISHED], wide=True)), ("own", "paper"))
    expected = f"± over seeds is noise of, {line} initialisation alone, if the variant draws one (the paper's seeds share samples and order)."
    assert expected in " ".join(shown.split())


def test_own_seeds_alone_have_no_such_line(runs, cell, tmp_path):
    cell()
    assert "± over seeds" not in text(compare(*load_together([runs, runs], wide=True)), ("A", "B"))


def counts(runs):
    means = seed_means(load_records(runs))
    return dict(zip(means["options"], zip(means["n"], means["test_mean"], strict=True), strict=True))


@pytest.mark.parametrize("stated", [None, 0])
def test_the_cell_whose_data_seed_is_its_seed_stands_with_the_others_of_it(runs, cell, stated):
    """Whether `seed=0` or `seed=0,1,2 data_seed=0` left its record."""
    for seed, data_seed in ((0, stated), (1, 0), (2, 0)):
        cell(seed=seed, test=0.3 + seed / 10, data_seed=data_seed)
    assert counts(runs) == {"": (3, pytest.approx(0.4))}
    cell(8e-3, seed=1, test=0.9, data_seed=0)
    (sweep,) = suggestions(load_records(runs))
    assert "data_seed=0" in sweep.line.split()


@pytest.mark.parametrize("stated", [None, 0])
def test_it_stands_with_both_where_there_are_both(runs, cell, stated):
    cell(seed=0, test=0.3, data_seed=stated)
    for seed in (1, 2):
        cell(seed=seed, test=0.3 + seed / 10, data_seed=0)
        cell(seed=seed, test=0.3 + seed / 5)
    assert counts(runs) == {
        "data_seed=0": (3, pytest.approx(0.4)),
        "data_seed=unset": (3, pytest.approx(0.5)),
    }


def test_a_best_cell_that_either_grid_left_is_suggested_with_the_data_seed_of_its_group(runs, cell):
    cell(4e-3, seed=0, test=0.9)
    for seed in (1, 2):
        cell(2e-3, seed=seed, data_seed=0)
    (sweep,) = suggestions(load_records(runs))
    assert "data_seed=0" in sweep.line.split()
