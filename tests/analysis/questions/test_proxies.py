"""Proxies against full cells: numbers with a known answer, and what is refused."""

import logging

import numpy as np
import pytest
from scipy import stats

from analysis.__main__ import main
from analysis.errors import AnalysisError
from analysis.questions.proxies import agreements
from analysis.read.load import load_records
from analysis.stats.correlation import pearson

LRS = [1e-4, 2e-4, 4e-4, 8e-4, 1.6e-3, 3.2e-3]
FULL = [0.1, 0.3, 0.5, 0.9, 0.8, 0.2]
PROXY = [0.05, 0.1, 0.4, 0.5, 0.6, 0.1]


@pytest.fixture
def grid(write):
    """A grid in full, and as proxies of a tenth, which put the second best first."""

    def make(proxy=PROXY, full=FULL, subset="random", **more):
        for lr, score, cheap in zip(LRS, full, proxy, strict=True):
            write(lr=lr, test=score, training={"seconds": 20.0})
            write_proxy(write, lr, cheap, subset, **more)

    return make


def write_proxy(write, lr, score, subset="random", fraction=0.1, **more):
    part = {"train_fraction": fraction, "subset": {"_target_": "x", "name": subset, **more}}
    metrics = {"validation": {"mean": score, "sets": {}}}
    return write(lr=lr, config=part, metrics=metrics, training={"seconds": 3.0})


def test_correlations_place_and_cost(grid, runs):
    grid()
    [agreement] = agreements(load_records(runs, proxies=True))
    assert (agreement.subset, agreement.fraction, agreement.cells) == ("random", 0.1, 6)
    assert agreement.pearson.value == pytest.approx(stats.pearsonr(PROXY, FULL).statistic)
    assert agreement.spearman.rho.value == pytest.approx(stats.spearmanr(PROXY, FULL).statistic)
    assert (agreement.place, agreement.loss, agreement.cost) == (2, pytest.approx(0.1), pytest.approx(3 / 20))


def test_samplers_and_fractions_are_told_apart(grid, runs, write):
    grid()
    for lr, score in zip(LRS, FULL, strict=True):
        write_proxy(write, lr, score, subset="tsds", neighbours=100)
        write_proxy(write, lr, score, fraction=0.5)
    correlations = {(row.subset, row.fraction): row.pearson.value for row in agreements(load_records(runs, proxies=True))}
    assert correlations.keys() == {("random", 0.1), ("random", 0.5), ("tsds neighbours=100", 0.1)}
    assert correlations["random", 0.5] == pytest.approx(1) and correlations["random", 0.1] < 0.99


def test_of_equal_proxies_the_loss_is_the_mean(grid, runs):
    grid(proxy=[0.0, 0.0, 0.0, 0.6, 0.6, 0.0])
    [agreement] = agreements(load_records(runs, proxies=True))
    assert (agreement.place, agreement.loss) == (2, pytest.approx(0.05))


def test_pearsons_interval_covers():
    """95 % intervals hold the true correlation of 200 samples from a normal distribution about as often."""
    generator, inside = np.random.default_rng(0), 0
    for _ in range(200):
        x, y = generator.multivariate_normal([0, 0], [[1, 0.7], [0.7, 1]], size=60).T
        correlation = pearson(x, y)
        inside += correlation.low <= 0.7 <= correlation.high
    assert 178 <= inside <= 200
    assert np.isnan(pearson([1, 1, 1, 1], [1, 2, 3, 4]).value)


def test_proxies_stay_out_of_the_other_analyses(grid, runs, caplog):
    grid()
    with caplog.at_level(logging.WARNING):
        frame = load_records(runs)
    assert sorted(frame["test"]) == sorted(FULL) and "left out proxies (train_fraction < 1): 6" in caplog.text


def test_the_command(grid, runs, capsys):
    grid()
    assert main(["proxy", str(runs)]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("random"))
    assert "2 of 6" in line and "10.00" in line and "15 %" in line


def test_too_few_of_one_kind_are_said(grid, runs, write, caplog):
    grid()
    part = {"train_fraction": 0.1, "subset": {"_target_": "x", "name": "tsds"}}
    for lr in LRS[:2]:
        write(lr=lr, config=part, metrics={"validation": {"mean": 0.5, "sets": {}}})
    assert len(agreements(load_records(runs, proxies=True))) == 1
    assert "left out tsds 0.1: 2 configurations have a full cell, too; 5 are the least" in caplog.text


def test_the_papers_correlations_stand_beside_the_own_ones(grid, runs, capsys):
    grid()
    assert main(["proxy", str(runs), "--published"]) == 0
    own, theirs = capsys.readouterr().out.split("paper 2: llama-2-7b")
    assert "2 of 6" in own and "0.87" not in own
    assert ["0.1", "0.87", "0.94"] in [line.split() for line in theirs.splitlines()]


def test_what_cannot_be_compared_is_one_line(grid, runs, write):
    write_proxy(write, 1e-4, 0.5)
    with pytest.raises(AnalysisError, match="holds proxies only"):
        load_records(runs)
    with pytest.raises(AnalysisError, match="1 proxy cells and 0 full ones: a comparison needs both"):
        agreements(load_records(runs, proxies=True))
    write(lr=1e-4, test=0.5)
    with pytest.raises(AnalysisError, match="only 1 configurations have both"):
        agreements(load_records(runs, proxies=True))


def test_only_shared_seeds_count_and_other_amounts_of_data_are_apart(grid, runs, write):
    grid()
    for lr in LRS:
        write(lr=lr, seed=1, test=0.0, training={"seconds": 20.0})  # no proxy has this seed
    for lr, score in zip(LRS, FULL, strict=True):
        write(lr=lr, test=1 - score, config={"train_samples": 99}, training={"seconds": 20.0})
        part = {"train_samples": 99, "train_fraction": 0.1, "subset": {"_target_": "x", "name": "random"}}
        write(lr=lr, config=part, metrics={"validation": {"mean": score, "sets": {}}})
    correlations = {row.title: row.pearson.value for row in agreements(load_records(runs, proxies=True))}
    assert correlations == {
        "tiny · arithmetic · 99 samples · 1 epoch": pytest.approx(-1),
        "tiny · arithmetic · 2400 samples · 1 epoch": pytest.approx(stats.pearsonr(PROXY, FULL).statistic),
    }
