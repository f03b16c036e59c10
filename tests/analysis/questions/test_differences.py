"""Variants against LoRA on records with and without completions."""

import gzip
import math

import numpy as np
import pytest
from scipy import stats

from analysis.errors import AnalysisError
from analysis.published import FOLDER as PUBLISHED
from analysis.questions.differences import differences
from analysis.questions.selection import honest_peaks
from analysis.read.load import load_records
from analysis.stats.paired import difference
from analysis.stats.power import seeds_needed_unpaired
from analysis.tables import table


def drawn(generator, rate, problems=200):
    return (generator.random(problems) < rate).astype(float).tolist()


@pytest.fixture
def generator():
    return np.random.default_rng(0)


def test_scores_are_paired_problem_by_problem(runs, answered, generator):
    """PiSSA is LoRA but for two problems more: far too little for unpaired scores of 200 problems, plain when paired."""
    for seed in range(3):
        lora = drawn(generator, 0.5)
        wrong = [i for i, score in enumerate(lora) if score == 0][:2]
        answered("lora", 2e-3, seed, lora)
        answered("pissa", 2e-4, seed, [1.0 if i in wrong else score for i, score in enumerate(lora)])
    (row,) = differences(load_records(runs), margin=0.04).to_dict("records")
    assert row["how"] == "paired" and (row["seeds"], row["problems"]) == (3, 200)
    assert row["value"] == pytest.approx(0.01)
    assert row["low"] > 0 and row["high"] < 0.04
    assert row["verdict"] == "both"
    assert (row["lr"], row["reference_lr"]) == (2e-4, 2e-3)


def test_the_learning_rate_is_chosen_on_validation(runs, answered, generator):
    answered("lora", 2e-3, 0, drawn(generator, 0.5))
    answered("dora", 2e-3, 0, [1.0] * 200, validation=0.2)
    answered("dora", 2e-4, 0, [0.0] * 200, validation=0.9)
    (row,) = differences(load_records(runs)).to_dict("records")
    assert row["lr"] == 2e-4 and row["value"] < -0.4 and row["verdict"] == "different"


def test_only_shared_seeds_are_paired_and_the_others_are_told(runs, answered, generator):
    for seed in (0, 1, 2):
        answered("lora", 2e-3, seed, drawn(generator, 0.5))
    for seed in (1, 2, 3):
        answered("dora", 2e-3, seed, drawn(generator, 0.5))
    frame = load_records(runs)
    (row,) = differences(frame).to_dict("records")
    assert (row["how"], row["seeds"], row["left_out"]) == ("paired", 2, 2)
    assert "Seeds that one of both has alone, left out: dora 2." in table(frame, "difference")


def test_the_best_of_several_loras_on_validation_is_the_reference(runs, write):
    for seed in (0, 1):
        for alpha, validation in ((8, 0.4), (16, 0.5), (32, 0.6)):
            config = {"variant": {"name": "lora", "alpha": alpha}}
            write("lora", 2e-3, seed, 0.9 - validation + seed / 10, validation, config=config)
        write("dora", 2e-3, seed, 0.5 + seed / 10, 0.1)
    frame = load_records(runs)
    rows = {row["variant"]: row for row in differences(frame).to_dict("records")}
    assert sorted(rows) == ["dora", "lora alpha=16", "lora alpha=8"]
    assert {row["reference"] for row in rows.values()} == {"lora alpha=32"}
    assert rows["dora"]["value"] == pytest.approx(0.2)
    assert "against lora alpha=32 at 2e-3" in table(frame, "difference")


def test_one_shared_seed_says_less_than_all_of_them(runs, answered, generator):
    """By that one seed alone the two would differ for certain."""
    for seed in (0, 1, 2):
        answered("lora", 2e-3, seed, drawn(generator, 0.1 if seed == 2 else 0.9))
    for seed in (2, 3, 4):
        answered("dora", 2e-3, seed, drawn(generator, 0.9))
    frame = load_records(runs)
    (row,) = differences(frame).to_dict("records")
    means = frame.groupby("variant")["test"].mean()
    assert (row["how"], row["verdict"]) == ("means", "open")
    assert row["value"] == pytest.approx(means["dora"] - means["lora"])


def test_one_shared_seed_is_all_there_is_where_one_side_has_no_other(runs, answered, generator):
    for seed in (0, 1, 2):
        answered("lora", 2e-3, seed, drawn(generator, 0.5))
    answered("dora", 2e-3, 0, drawn(generator, 0.5))
    (row,) = differences(load_records(runs)).to_dict("records")
    assert (row["how"], row["seeds"], row["left_out"]) == ("paired", 1, 2)


def test_one_seed_is_of_these_trained_models(runs, answered, generator):
    answered("lora", 2e-3, 0, drawn(generator, 0.1))
    answered("dora", 2e-3, 0, drawn(generator, 0.9))
    shown = table(load_records(runs), "difference")
    assert "different†" in shown and "< 0.001" in shown
    assert "†: one seed (dora), so interval and verdict are of these trained models alone." in shown


def test_a_choice_by_test_scores_is_said():
    frame = load_records(PUBLISHED)
    assert set(differences(frame)["chosen"]) == {"test"}
    assert "Learning rates chosen by test score" in table(frame, "difference")


def test_seeds_that_do_not_vary_tell_nothing(runs, write):
    for seed in (0, 1):
        write("lora", 2e-3, seed, 0.5)
        write("dora", 2e-3, seed, 0.505)
    (row,) = differences(load_records(runs)).to_dict("records")
    assert row["verdict"] == "open" and math.isnan(row["low"]) and math.isnan(row["p_different"])


def test_without_completions_seeds_are_compared_by_welch(runs, write):
    for seed, (lora, dora) in enumerate([(0.50, 0.60), (0.52, 0.61), (0.49, 0.64)]):
        write("lora", 2e-3, seed, lora)
        write("dora", 2e-3, seed, dora)
    (row,) = differences(load_records(runs)).to_dict("records")
    reference = stats.ttest_ind([0.60, 0.61, 0.64], [0.50, 0.52, 0.49], equal_var=False)
    assert row["how"] == "means" and row["p_different"] == pytest.approx(reference.pvalue)
    interval = reference.confidence_interval()
    assert (row["low"], row["high"]) == pytest.approx((interval.low, interval.high))


def test_one_seed_without_completions_tells_nothing(runs, write):
    write("lora", 2e-3, 0, 0.5)
    write("dora", 2e-3, 0, 0.9)
    (row,) = differences(load_records(runs)).to_dict("records")
    assert row["verdict"] == "open" and math.isnan(row["p_different"]) and math.isnan(row["low"])
    assert "| dora | 2e-3 | +40.00 | - | - | - | - | open |" in table(load_records(runs), "difference", "markdown")


def test_a_diverged_seed_is_no_paired_score(runs, answered, write, generator):
    for seed in (0, 1):
        answered("lora", 2e-3, seed, drawn(generator, 0.5))
    answered("dora", 2e-3, 0, drawn(generator, 0.9))
    write("dora", 2e-3, 1, 0.0, status="diverged", metrics={"validation": {"mean": 0.0}, "test": {"mean": 0.0}})
    (row,) = differences(load_records(runs)).to_dict("records")
    assert row["how"] == "means" and row["seeds"] == 2


def test_both_p_values_are_holms_over_the_variants(runs, answered, generator):
    lora = drawn(generator, 0.5)
    answered("lora", 2e-3, 0, lora)
    for name in ("dora", "pissa", "olora"):
        answered(name, 2e-3, 0, [1.0 if i < 4 else score for i, score in enumerate(lora)])
    rows = differences(load_records(runs), margin=0.025)
    d = np.array([1.0] * 4 + lora[4:]) - lora
    assert rows["p_different"].tolist() == pytest.approx([3 * stats.ttest_1samp(d, 0).pvalue] * 3)
    single = difference([d[None]]).p_equivalent(0.025)
    assert 0.01 < single < 0.05
    assert rows["p_equivalent"].tolist() == pytest.approx([3 * single] * 3)
    assert "equivalent" not in set(rows["verdict"])


@pytest.mark.parametrize("margin", [0, -1, 1, math.inf, math.nan])
def test_bad_input(runs, write, margin):
    write("lora")
    with pytest.raises(AnalysisError, match="margin must be positive"):
        differences(load_records(runs), margin)
    with pytest.raises(AnalysisError, match="no setting has lora and another variant"):
        differences(load_records(runs))


def test_honest_peaks_of_complete_curves_only(runs, answered, write, generator):
    for lr in [1e-4 * 2**i for i in range(12)]:
        for seed in range(3):
            answered("lora", lr, seed, drawn(generator, 0.5))
            write("pissa", lr, seed, 0.5)
    (row,) = honest_peaks(load_records(runs)).to_dict("records")
    assert row["variant"] == "lora" and row["optimism"] == pytest.approx(row["peak_mean"] - row["honest"])
    assert 0 < row["optimism"] < 0.1


def test_an_honest_peak_has_its_interval_and_a_diverged_run_solves_nothing(runs, answered, write, generator):
    for seed in range(4):
        answered("lora", 1e-3, seed, drawn(generator, 0.8))
        answered("lora", 2e-3, seed, drawn(generator, 0.5))
        diverged = {"validation": {"mean": 0.0}, "test": {"mean": 0.0}}
        write("lora", 2e-2, seed, 0.0, status="diverged", metrics=diverged)
    frame = load_records(runs)
    (row,) = honest_peaks(frame).to_dict("records")
    assert row["honest"] == pytest.approx(row["peak_mean"]) and row["low"] < row["honest"] < row["high"]
    assert f"[{100 * row['low']:.2f}, {100 * row['high']:.2f}]" in table(frame, "cross_fitted")


def test_honest_peaks_need_completions_that_reproduce_the_scores(runs, answered, generator):
    for lr in (1e-3, 2e-3):
        path = answered("lora", lr, 0, [1.0] * 100 + [0.0] * 100)
        lines = gzip.open(path.parent / "completions.jsonl.gz", "rt").readlines()
        with gzip.open(path.parent / "completions.jsonl.gz", "wt") as file:
            file.writelines(lines[:50])
    assert honest_peaks(load_records(runs)).empty


def test_completions_that_were_cut_short_are_not_compared(runs, answered, generator):
    """Their common problems are others than those of the scores in the table."""
    for name in ("lora", "dora"):
        for seed in (0, 1):
            path = answered(name, 2e-3, seed, drawn(generator, 0.5))
    lines = gzip.open(path.parent / "completions.jsonl.gz", "rt").readlines()
    with gzip.open(path.parent / "completions.jsonl.gz", "wt") as file:
        file.writelines(lines[:50])
    frame = load_records(runs)
    (row,) = differences(frame).to_dict("records")
    means = frame.groupby("variant")["test"].mean()
    assert row["how"] == "means" and row["value"] == pytest.approx(means["dora"] - means["lora"])


def test_means_over_seeds_tell_how_many_seeds_are_needed(runs, write):
    for seed, score in enumerate([0.50, 0.52, 0.51]):
        write("lora", 2e-3, seed, score)
        write("dora", 2e-3, seed, score + 0.001)
    (row,) = differences(load_records(runs), 0.02).to_dict("records")
    assert row["seeds_needed"] == seeds_needed_unpaired(0.02, 0.01, 0.01)


def test_settings_without_a_comparison_are_counted_and_the_margin_is_said(runs, write):
    for seed in (0, 1):
        write("lora", 2e-3, seed, 0.5 + seed / 100)
        write("dora", 2e-3, seed, 0.5 + seed / 100)
    write("lora", 2e-3, 0, 0.5, config={"rank": 64})
    text = table(load_records(runs), "difference", margin=0.05)
    assert "Left out, settings without lora or with it alone: 1." in text
    assert "p equal: of a difference of 5 points or more" in " ".join(text.split()) and "1 equivalent" in text
