"""What the three formats of the peak table show."""

import csv
import io
import math

import pytest

from analysis.__main__ import main
from analysis.kinds import TABLES
from analysis.published import FOLDER as PUBLISHED
from analysis.read.load import load_records
from analysis.style.numbers import format_lr, format_score, number
from analysis.tables import table as render_table

OF_CELLS = [kind for kind in TABLES.names() if not hasattr(TABLES.module(kind), "read")]
"""Kinds that read nothing but cells."""


@pytest.mark.parametrize(
    ("lr", "text"),
    [(2e-3, "2e-3"), (6.3246e-4, "6.325e-4"), (1.5e-5, "1.5e-5"), (9.9999e-4, "1e-3"), (1.0, "1e0"), (1e-10, "1e-10")],
)
def test_format_lr(lr, text):
    assert format_lr(lr) == text


def test_format_score():
    assert format_score(0.9525, 0.0106) == "95.25 ± 1.06"
    assert format_score(0.9525, float("nan")) == "95.25"


@pytest.fixture
def sweep(runs, write):
    """LoRA and PiSSA, two seeds; PiSSA's best cell on validation is not its best on test."""
    for seed in (0, 1):
        for lr, lora, pissa in [(2e-4, 0.1, 0.80), (2e-3, 0.9, 0.96), (2e-2, 0.6, 0.0)]:
            write("pissa", lr, seed, pissa + seed / 100, validation=0.97 if lr == 2e-4 else pissa)
            write("lora", lr, seed, lora + seed / 100)
    return runs


def test_text(sweep):
    lines = render_table(load_records(sweep)).splitlines()
    assert lines[:8] == [
        "tiny · arithmetic",
        "rank 8 · batch size 16 · 2400 samples · 1 epoch · untouched base model 1.00 %",
        "",
        "variant   test peak %  at lr    selected %  at lr  best lr range  seeds  edge",
        "-------  ------------  -----  ------------  -----  -------------  -----  ----",
        "lora     90.50 ± 0.71  2e-3   90.50 ± 0.71  2e-3   2e-3           2      -",
        "pissa    96.50 ± 0.71  2e-3   80.50 ± 0.71  2e-4   2e-3           2      -",
        "",
    ]
    assert "Spread of 2 variants (max - min): test peak 6.00, selected 10.00 points." in lines
    assert "12 cells." in lines
    assert max(map(len, lines)) <= 110


def test_markdown(sweep):
    lines = render_table(load_records(sweep), style="markdown").splitlines()
    assert lines[0] == "### tiny · arithmetic"
    assert "| pissa | 96.50 ± 0.71 | 2e-3 | 80.50 ± 0.71 | 2e-4 | 2e-3 | 2 | - |" in lines
    assert len({line.count("|") for line in lines if line.startswith("|")}) == 1


def test_csv_is_exact_and_has_one_row_a_variant_and_setting(sweep, write):
    write("lora", 2e-3, 0, 1 / 3, config={"rank": 64})
    rows = list(csv.DictReader(io.StringIO(render_table(load_records(sweep), style="csv"))))
    assert [(row["rank"], row["variant"]) for row in rows] == [("8", "lora"), ("8", "pissa"), ("64", "lora")]
    assert float(rows[1]["selected_mean"]) == pytest.approx(0.805)
    assert float(rows[2]["peak_mean"]) == pytest.approx(1 / 3, abs=1e-12)
    assert rows[2]["peak_std"] == ""


def test_what_is_left_out_is_counted(sweep, write):
    write("lora", 6e-2, 0, status="diverged")
    write("lora", 6e-2, 1, status="failed", metrics=None)
    write("pissa", 6e-2, 1, status="failed", metrics=None)
    write("pissa", 6e-2, 0).write_text("{")
    text = render_table(load_records(sweep))
    assert "13 cells, 1 of them diverged (score 0)." in text
    assert "Left out, failed: 2 (lora 1, pissa 1)" in text


@pytest.mark.parametrize("style", ["text", "markdown", "latex"])
@pytest.mark.parametrize("kind", OF_CELLS)
def test_every_table_counts_the_records_that_were_skipped(sweep, write, kind, style):
    assert "unreadable" not in render_table(load_records(sweep), kind, style)
    write("pissa", 6e-2, 0).write_text("{")
    assert render_table(load_records(sweep), kind, style).count("Left out, unreadable: 1.") == 1


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.012345, "0.0123"), (12.345, "12.3"), (999.4, "999"), (999.7, "1,000"), (1234.4, "1,234"), (-1234.4, "-1,234"),
     (987654.3, "987,654"), (1234567, "1.23e+06"), (math.nan, "-")],
)  # fmt: skip
def test_numbers(value, text):
    assert number(value) == text


def test_incomplete_grids_are_said(sweep, write):
    write("lora", 6e-3, 0, 0.99, validation=0.1)
    text = render_table(load_records(sweep))
    assert "99.00†" in text
    assert "1, 2" in text
    assert "† Incomplete: 1 of 7 points (variant, lr) have fewer than 2 seeds." in text
    assert "not tried at the same learning rates: lora 2e-4..2e-2 (4), pissa 2e-4..2e-2 (3)." in " ".join(text.split())


def test_complete_grids_need_no_remark(sweep):
    text = render_table(load_records(sweep))
    for word in ("†", "same learning rates", "Left out", "diverged", "One seed"):
        assert word not in text


def test_random_weights_are_in_the_title(runs, write):
    write(model={"fingerprint": "a", "weights": "random"}, base=None, config={"train_samples": None, "epochs": 0.5})
    lines = render_table(load_records(runs)).splitlines()
    assert lines[0] == "tiny (random weights) · arithmetic"
    assert lines[1] == "rank 8 · batch size 16 · all samples · 0.5 epochs"


def test_one_seed_and_differing_base_scores_are_said(runs, write):
    write("lora", base={"test": 0.01, "validation": 0.0})
    write("pissa", base={"test": 0.02, "validation": 0.0})
    text = render_table(load_records(runs))
    assert "untouched base model 1.00–2.00 %" in text
    assert "One seed only" in text


@pytest.mark.parametrize(("kind", "axis"), [("rank", "rank"), ("batch", "batch_size"), ("duration", "train_samples")])
def test_over_an_axis_score_and_learning_rate_are_columns_of_their_own(runs, write, kind, axis):
    for variant, lr, score, value in [
        ("lora", 2e-4, 0.09, 8), ("lora", 2e-3, 0.08, 8), ("lora", 2e-3, 0.5, 64), ("pissa", 6.3246e-4, 0.96, 8)
    ]:  # fmt: skip
        write(variant, lr, 0, score, config={axis: value})
    lines = render_table(load_records(runs), kind).splitlines()
    _, lora, pissa = (line for line in lines if line.startswith(("variant", "lora", "pissa")))
    assert lora.split() == ["lora", "9.00", "2e-4", "(low)", "50.00", "2e-3", "(both)"]
    assert pissa.split() == ["pissa", "96.00*", "6.325e-4", "(both)"]
    assert lora.index("9.00") == pissa.index("96.00") + 1 and lora.index("2e-4") == pissa.index("6.325e-4")


@pytest.mark.parametrize(("within", "line"), [(1.0, "2e-3"), (5.0, "6e-4..2e-3"), (100 / 3, "6e-4..6e-3")])
def test_the_best_range_reaches_as_far_as_asked(runs, write, capsys, within, line):
    for lr, score in ((2e-4, 0.1), (6e-4, 0.86), (2e-3, 0.9), (6e-3, 0.6)):
        write("lora", lr, 0, score)
    assert main(["table", str(runs), "--within", str(within)]) == 0
    text = capsys.readouterr().out
    assert f" {line}  " in text and f"test score within {within:g}% of it" in text


@pytest.mark.parametrize("within", ["-1", "100", "nan"])
def test_a_best_range_without_meaning_is_one_line(runs, write, capsys, within):
    write()
    assert main(["table", str(runs), "--within", within]) == 2
    assert capsys.readouterr().err.startswith("lorabench: the best range reaches from 0 to less than 100 percent")


def test_what_choosing_a_peak_is_worth(runs, answered):
    """Two cells that are right on alternate problems: which is best is chance, and the choice is worth no more than either."""
    alternate = [float(i % 2) for i in range(41)]
    answered("lora", 2e-4, 0, alternate)
    answered("lora", 2e-3, 0, [1 - score for score in alternate])
    answered("pissa", 2e-3, 0, alternate)
    lines = render_table(load_records(runs), "cross_fitted").splitlines()
    (row,) = (line.split() for line in lines if line.startswith(("lora", "pissa")))
    (exact,) = csv.DictReader(io.StringIO(render_table(load_records(runs), "cross_fitted", "csv")))
    assert row[:2] == ["lora", "51.22"] and float(row[2]) < 51.22
    assert float(row[-1]) == pytest.approx(100 * float(exact["optimism"]), abs=0.005) and float(row[-1]) > 0


def test_without_completions_no_choice_is_weighed(sweep):
    assert render_table(load_records(sweep), "cross_fitted").strip().startswith("No variant has completions of several")


@pytest.mark.parametrize(
    ("kind", "title", "spread"),
    [
        ("grid", "gemma-3-1b · math\nrank 128 · 100000 samples", "Spread of 5 variants (max - min): 0.52 points."),
        (
            "batch",
            "gemma-3-1b · math\nrank 128 · 100000 samples",
            "Spread of 5 variants' peaks over the whole axis (max - min): 0.52 points.",
        ),
        ("peaks", "llama-2-7b · math\nrank 128 · batch size 128", "Spread of 5 variants (max - min): test peak 0.43 points."),
        ("peaks", "llama-2-7b · code\nrank 128 · batch size 128", "Spread of 5 variants (max - min): test peak 1.75 points."),
    ],
)
def test_paper_1s_spreads_stand_below_its_tables(kind, title, spread):
    (block,) = [part for part in render_table(load_records(PUBLISHED), kind).split("\n\n\n") if part.startswith(title)]
    assert spread in block.splitlines()


@pytest.mark.parametrize(
    ("kind", "key", "more"), [("batch", "batch_size", 64), ("rank", "rank", 16), ("duration", "epochs", 2)]
)
def test_peaks_over_a_whole_axis_are_each_variants_best_of_it(runs, write, kind, key, more):
    write("lora", test=0.9)
    write("pissa", test=0.5)
    one_value = render_table(load_records(runs), kind)
    write("lora", test=0.6, config={key: more})
    write("pissa", test=0.8, config={key: more})
    whole = render_table(load_records(runs), kind)
    write("dora", test=0.7, config={key: more})
    some = render_table(load_records(runs), kind)
    assert "whole axis" not in one_value  # where it is the spread of the one value
    assert "Spread of 2 variants' peaks over the whole axis (max - min): 10.00 points." in whole
    assert (
        "3 variants' peaks over the whole axis (max - min): 20.00 points, though not all were run at every value."
        in " ".join(some.split())
    )


def test_of_the_published_peaks_four_are_shown_to_be_equal_and_none_to_differ():
    rows = csv.DictReader(io.StringIO(render_table(load_records(PUBLISHED), "difference", "csv")))
    verdicts = [row["verdict"] for row in rows if row["how"] == "means"]
    assert (len(verdicts), verdicts.count("equivalent"), verdicts.count("open")) == (28, 4, 24)


def test_hours_are_those_of_training_and_evaluation(runs, write):
    for seed in (0, 1):
        write("lora", 2e-3, seed, training={"steps": 10, "seconds": 1800, "loss": []}, evaluation={"seconds": 900})
    [row] = csv.DictReader(io.StringIO(render_table(load_records(runs), "cost", "csv")))
    assert "The time of a probe is in no column." in " ".join(render_table(load_records(runs), "cost").split())
    assert float(row["hours"]) == pytest.approx(1.5) and float(row["seconds_a_step"]) == 180


@pytest.mark.parametrize(
    ("kind", "axis"), [("grid", "batch_size"), ("batch", "batch_size"), ("rank", "rank"), ("duration", "epochs")]
)
def test_options_that_change_along_an_axis_are_told(runs, write, kind, axis):
    for value in (1, 2):
        for lr in (2e-4, 2e-3):
            config = {axis: value, "variant": {"name": "lora", "alpha": 8 * value}, "train_samples": None}
            write("lora", lr, 0, 0.5, config=config)
            write("pissa", lr, 0, 0.5, config={axis: value, "train_samples": None})
    assert "Not that axis alone changes: lora alpha (16, 8)." in render_table(load_records(runs), kind).splitlines()


def test_options_that_a_name_tells_are_not_told_again(runs, write):
    for batch in (1, 2):
        for alpha in (8, 16):
            write("lora", 2e-4, 0, 0.5, config={"batch_size": batch, "variant": {"name": "lora", "alpha": alpha}})
    assert "Not that axis" not in render_table(load_records(runs), "batch")


def test_pscp_is_that_of_the_learning_rate_chosen_on_validation(runs, write):
    for lr, tests, validation in ((2e-4, (0.9, 0.9), 0.5), (2e-3, (0.8, 0.6), 0.7)):  # the test peak is not what is chosen
        for seed, score in enumerate(tests):
            spent = {"steps": 1, "seconds": 1, "trainable_parameters": 5e8 / 4, "peak_memory_bytes": (10 + 20 * seed) * 1e9}
            write("lora", lr, seed, score, validation, training=spent | {"loss": []})
    [row] = csv.DictReader(io.StringIO(render_table(load_records(runs), "cost", "csv")))
    assert float(row["pscp"]) == pytest.approx(0.7 / 1.25 / (1 + 20 / 94))
    text = render_table(load_records(runs), "cost")
    [line] = [line for line in text.splitlines() if line.startswith("lora ")]
    assert line.split()[-1] == f"{100 * 0.7 / 1.25 * 94 / 114:.2f}"
    assert "Cp = 5e+08, Cf = 10 TFLOPs, Cm = 94 GB (10^9 bytes), b = 1" in " ".join(text.split())


@pytest.mark.parametrize(
    ("left_out", "evaluation", "config"),
    [
        ("trainable_parameters", {}, {}),
        ("peak_memory_bytes", {}, {}),
        ("", {"merged": False}, {}),
        ("", {}, {"variant": {"name": "lora", "peft_type": "LORA"}}),  # a record that does not say
    ],
)
def test_pscp_is_a_dash_where_a_cost_is_not_known(runs, write, left_out, evaluation, config):
    spent = {"steps": 1, "seconds": 1, "trainable_parameters": 100, "peak_memory_bytes": 1e9, "loss": []}
    del spent[left_out or "loss"]
    write("lora", training={"loss": []} | spent, evaluation={"seconds": 1} | evaluation, config=config)
    [line] = [line for line in render_table(load_records(runs), "cost").splitlines() if line.startswith("lora ")]
    assert line.split()[-1] == "–"
    change = {"seconds": 1, "merged": True}
    spent |= {"trainable_parameters": 100, "peak_memory_bytes": 1e9, "loss": []}
    write("pissa", training=spent, evaluation=change, config={"variant": {"name": "pissa", "peft_type": "LORA"}})
    [line] = [line for line in render_table(load_records(runs), "cost").splitlines() if line.startswith("pissa ")]
    assert line.split()[-1] != "–"
