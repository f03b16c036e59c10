"""A data_seed and subset=first are options of a cell, not seeds: curves, suggestions, exports and what ± holds."""

import json

import pytest
from cell_records import rewrite

from analysis.__main__ import main
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
        return rewrite(path, record)

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


DRAW = "initialisation, if the variant draws one"
LINES = {
    "drawn": ({}, f"{DRAW}; dropout; samples; and order"),
    "unstated": ({"variant": {"name": "lora", "alpha": 8}}, f"{DRAW}; dropout, if any; samples; and order"),
    "no dropout": ({"variant": {"name": "lora", "dropout": 0.0}}, f"{DRAW}; samples; and order"),
    "data_seed": ({"data_seed": 42}, f"{DRAW}; and dropout (not of samples and order: data_seed is one for all seeds)"),
    "first": ({"first": True}, f"{DRAW}; dropout; and order (not of samples: subset=first)"),
    "both": (
        {"data_seed": 42, "first": True, "variant": {"name": "lora", "dropout": 0}},
        f"{DRAW} (not of samples and order: data_seed is one for all seeds)",
    ),
    "all": ({"train_samples": None}, f"{DRAW}; dropout; and order (not of samples: all are taken)"),
}


@pytest.fixture
def cell_of_paper(runs, cell, tmp_path):
    """Three seeds of a cell, also published by another name; the text of their comparison, without line breaks."""

    def compared(source="arXiv 2602.04998", **more):
        more = {"variant": {"name": "lora", "dropout": 0.1}, "train_samples": 100} | more
        for seed in range(3):
            cell(seed=seed, test=0.3 + seed / 100, rank=8, batch_size=16, **more)
        samples = "" if more["train_samples"] is None else more["train_samples"]
        paper = tmp_path / "paper"
        paper.mkdir(exist_ok=True)
        columns = "source,model,task,variant,rank,batch_size,train_samples,seeds,learning_rate,mean,std"
        (paper / "cells.csv").write_text(f"{columns}\n{source},tiny,arithmetic,lora,8,16,{samples},3,2e-3,31,1\n")
        shown = text(compare(*load_together([runs, paper], wide=True)), ("own", "paper"))
        return " ".join(shown.split()).partition("± over seeds is noise of, ")[2]

    return compared


@pytest.mark.parametrize(("config", "line"), LINES.values(), ids=LINES.keys())
def test_compare_says_which_noise_each_side_holds(cell_of_paper, config, line):
    of_paper = f"{DRAW} (not of samples and order, the same in all of the paper's trials)"
    assert f"A: {line} | B: {of_paper}." in cell_of_paper(**config)


def test_of_another_paper_nothing_is_known(cell_of_paper):
    assert "B: what differs between the seeds of Other 2025, which is not known here." in cell_of_paper("Other 2025")


def test_only_cells_that_both_have_are_told_of(cell_of_paper, cell):
    for seed in range(2):
        cell(lr=9e-3, seed=seed, data_seed=7, rank=16, batch_size=16, train_samples=100)
    assert f"A: {LINES['drawn'][1]} | B:" in cell_of_paper()


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
