"""Cells as one file."""

import pandas as pd
import pytest

from analysis.__main__ import main
from analysis.errors import AnalysisError
from analysis.read.load import load_records
from analysis.report.export import export


def test_csv_and_parquet_hold_every_cell_and_option(runs, write, tmp_path):
    write("lora", 2e-3, 0, 0.9)
    write("lora", 2e-4, 1, 0.7)
    frame = load_records(runs, wide=True)
    for name, read in {"cells.csv": pd.read_csv, "cells.parquet": pd.read_parquet}.items():
        assert export(frame, tmp_path / name) == 2
        table = read(tmp_path / name)
        assert sorted(table["test"]) == [0.7, 0.9]
        assert set(table["variant.alpha"]) == {8} and set(table["trainer.warmup_ratio"]) == {0.03}


def test_chosen_columns_in_their_order_sorted(runs, write, tmp_path):
    for lr in (2e-3, 2e-4):
        write("lora", lr, 0, 0.9)
    export(load_records(runs, wide=True), tmp_path / "x.csv", ["rank", "lr", "test"])
    assert (tmp_path / "x.csv").read_text() == "rank,lr,test\n8,0.0002,0.9\n8,0.002,0.9\n"


def test_proxies_are_exported_when_asked_for(runs, write, tmp_path):
    write("lora", 2e-3, 0, 0.9)
    part = {"train_fraction": 0.1, "subset": {"_target_": "x", "name": "random"}}
    write("lora", 2e-3, 0, config=part, metrics={"validation": {"mean": 0.5, "sets": {}}})
    for more, fractions in (([], [1]), (["--proxies"], [0.1, 1])):
        assert main(["export", str(runs), "--out", str(tmp_path / "x.csv"), *more]) == 0
        assert sorted(pd.read_csv(tmp_path / "x.csv")["train_fraction"]) == fractions


def test_bad_input(runs, write, tmp_path):
    write()
    frame = load_records(runs, wide=True)
    with pytest.raises(AnalysisError, match=r"must end in \.csv or \.parquet"):
        export(frame, tmp_path / "x.xlsx")
    with pytest.raises(AnalysisError, match="no column rnk; there are id, path"):
        export(frame, tmp_path / "x.csv", ["rnk"])
    with pytest.raises(AnalysisError, match="column test is named twice"):
        export(frame, tmp_path / "x.csv", ["lr", "test", "test"])
    assert main(["export", str(runs), "--out", str(tmp_path / "x.csv"), "--columns", ""]) == 2  # and not all columns
    assert not (tmp_path / "x.csv").exists()
    with pytest.raises(AnalysisError, match="cannot write"):
        export(frame, tmp_path / "no" / "x.csv")


def test_options_are_columns_and_nothing_of_the_kind_twice(runs, write, tmp_path):
    for batch, alpha in ((8, 16), (32, 64)):
        write("lora", 2e-4, 0, 0.5, config={"batch_size": batch, "variant": {"name": "lora", "alpha": alpha}})
    export(load_records(runs, wide=True), tmp_path / "cells.csv")
    header, *rows = (tmp_path / "cells.csv").read_text().splitlines()
    assert "unwritten" not in header.split(",")
    assert sorted(row.split(",")[header.split(",").index("variant.alpha")] for row in rows) == ["16", "64"]
