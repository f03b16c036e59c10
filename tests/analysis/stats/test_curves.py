"""Peaks, spreads and best ranges against numbers computed by hand."""

import math

import pytest

from analysis.read.load import load_records
from analysis.stats.curves import learning_rates, peaks, seed_means, settings


def curve(write, scores, variant="lora", validation=None, **record):
    """Write `{lr: [score of seed 0, score of seed 1, …]}`."""
    for lr, of_seeds in scores.items():
        for seed, test in enumerate(of_seeds):
            write(variant, lr, seed, test, validation=validation[lr][seed] if validation else None, **record)


def peak_of(runs, variant="lora"):
    return peaks(load_records(runs)).set_index("variant").loc[variant]


def test_mean_and_sample_standard_deviation(runs, write):
    curve(write, {1e-3: [0.8, 0.9, 0.7], 2e-3: [0.5]})
    means = seed_means(load_records(runs)).set_index("lr")
    assert means.loc[1e-3, "test_mean"] == pytest.approx(0.8)
    assert means.loc[1e-3, "test_std"] == pytest.approx(0.1)  # sqrt((0 + 0.01 + 0.01) / 2); ddof=0 would be 0.0816
    assert means["n"].tolist() == [3, 1]
    assert means.loc[2e-3, "test_mean"] == 0.5
    assert math.isnan(means.loc[2e-3, "test_std"])


def test_test_peak_and_validation_selected_score(runs, write):
    curve(
        write,
        {1e-3: [0.60, 0.64], 2e-3: [0.90, 0.94], 4e-3: [0.86, 0.90], 8e-3: [0.1, 0.1]},
        validation={1e-3: [0.6, 0.6], 2e-3: [0.88, 0.90], 4e-3: [0.92, 0.90], 8e-3: [0.1, 0.1]},
    )
    peak = peak_of(runs)
    assert (peak["peak_lr"], peak["peak_n"]) == (2e-3, 2)
    assert peak["peak_mean"] == pytest.approx(0.92)
    assert peak["peak_std"] == pytest.approx(0.04 / math.sqrt(2))
    assert (peak["selected_lr"], peak["selected_n"]) == (4e-3, 2)
    assert peak["selected_mean"] == pytest.approx(0.88)  # the test score there, not the validation score 0.91
    assert peak["selected_std"] == pytest.approx(0.04 / math.sqrt(2))
    assert peak["cells"] == 8


def test_the_peak_is_that_of_the_mean_not_of_the_luckiest_seed(runs, write):
    curve(write, {1e-3: [0.99, 0.5], 2e-3: [0.8, 0.8], 4e-3: [0.1, 0.1]})
    assert peak_of(runs)["peak_lr"] == 2e-3


def test_a_tie_goes_to_the_lower_lr(runs, write):
    # The means of both pairs are 0.85 on paper, but 0.8500000000000001 and 0.85 in floating point.
    curve(write, {4e-3: [0.9, 0.8], 2e-3: [0.85, 0.85], 8e-3: [0.1, 0.1], 1e-3: [0.1, 0.1]})
    peak = peak_of(runs)
    assert peak["peak_lr"] == peak["selected_lr"] == 2e-3
    assert (peak["range_low"], peak["range_high"]) == (2e-3, 4e-3)


@pytest.mark.parametrize(
    ("scores", "edge"),
    [
        ({1e-3: 0.9, 2e-3: 0.8, 4e-3: 0.7}, "low"),
        ({1e-3: 0.7, 2e-3: 0.8, 4e-3: 0.7}, ""),
        ({1e-3: 0.7, 2e-3: 0.8, 4e-3: 0.9}, "high"),
        ({1e-3: 0.7}, "both"),
    ],
)
def test_edge_of_the_grid(runs, write, scores, edge):
    curve(write, {lr: [score] for lr, score in scores.items()})
    assert peak_of(runs)["edge"] == edge


def test_edge_is_that_of_the_variants_own_grid(runs, write):
    curve(write, {1e-3: [0.7], 2e-3: [0.9], 4e-3: [0.8]}, variant="lora")
    curve(write, {1e-3: [0.7], 2e-3: [0.9]}, variant="pissa")
    assert peaks(load_records(runs)).set_index("variant")["edge"].to_dict() == {"lora": "", "pissa": "high"}


def test_best_range_is_contiguous_and_relative_to_the_peak(runs, write):
    # Peak 0.9; 1 % of it leaves 0.891: 0.8905 at 1 % absolute would be in. 1e-4 is good enough, but beyond a gap.
    curve(write, {1e-4: [0.895], 2e-4: [0.5], 4e-4: [0.891], 8e-4: [0.9], 16e-4: [0.895], 32e-4: [0.8905]})
    peak = peak_of(runs)
    assert (peak["range_low"], peak["range_high"]) == (4e-4, 16e-4)


def test_a_peak_of_zero_has_no_best_range(runs, write):
    curve(write, {1e-3: [0.0], 2e-3: [0.0]})
    peak = peak_of(runs)
    assert (peak["peak_lr"], peak["peak_mean"], peak["edge"]) == (1e-3, 0, "low")
    assert math.isnan(peak["range_low"])
    assert math.isnan(peak["range_high"])


def test_diverged_counts_as_zero_and_failed_not_at_all(runs, write):
    write(lr=1e-3, seed=0, test=0.8)
    write(lr=1e-3, seed=1, status="diverged")
    write(lr=2e-3, seed=0, test=0.6)
    write(lr=2e-3, seed=1, status="failed", metrics=None)
    means = seed_means(load_records(runs)).set_index("lr")
    assert means["test_mean"].to_dict() == {1e-3: 0.4, 2e-3: 0.6}
    assert means["n"].to_dict() == {1e-3: 2, 2e-3: 1}
    assert means["diverged"].to_dict() == {1e-3: 1, 2e-3: 0}


def test_fewer_seeds_than_elsewhere_in_the_setting_are_marked(runs, write):
    curve(
        write,
        {1e-3: [0.7, 0.7], 2e-3: [0.95], 4e-3: [0.8, 0.8]},
        variant="lora",
        validation={1e-3: [0.1] * 2, 2e-3: [0.2], 4e-3: [0.9] * 2},
    )
    curve(write, {1e-3: [0.7, 0.7], 2e-3: [0.9, 0.9], 4e-3: [0.8, 0.8]}, variant="pissa")
    curve(write, {1e-3: [0.7], 2e-3: [0.9]}, variant="lora", config={"rank": 64})
    best = peaks(load_records(runs)).set_index(["rank", "variant"])
    assert best["peak_few_seeds"].to_dict() == {(8, "lora"): True, (8, "pissa"): False, (64, "lora"): False}
    assert best["selected_few_seeds"].to_dict() == {(8, "lora"): False, (8, "pissa"): False, (64, "lora"): False}
    assert best.loc[(8, "lora"), ["peak_n", "selected_n"]].tolist() == [1, 2]


@pytest.mark.parametrize(
    "change",
    [
        {"model": {"name": "other"}},
        {"task": {"name": "other"}},
        {"rank": 64},
        {"batch_size": 64},
        {"train_samples": None},
        {"epochs": 0.5},
    ],
)
def test_settings_are_never_averaged(runs, write, change):
    write(seed=0, test=0.9)
    write(seed=1, test=0.1, config=change)
    frame = load_records(runs)
    assert sorted(peaks(frame)["peak_mean"]) == [0.1, 0.9]
    assert [len(cells) for _, cells in settings(frame)] == [1, 1]


def test_learning_rates_of_each_variant(runs, write):
    curve(write, {2e-3: [0.7, 0.7], 1e-3: [0.9, 0.9]}, variant="lora")
    curve(write, {1e-3: [0.7]}, variant="pissa")
    assert learning_rates(seed_means(load_records(runs))) == {"lora": (1e-3, 2e-3), "pissa": (1e-3,)}
