"""Two result sets: which cells are the same, and what differs beyond noise."""

import json
import shutil

import numpy as np
import pytest
from cell_records import rewrite

from analysis.__main__ import main
from analysis.errors import AnalysisError
from analysis.published import FOLDER as PUBLISHED
from analysis.questions.compare import compare, text
from analysis.read.load import load_together


@pytest.fixture
def set_aside(runs, tmp_path):
    """A second folder, into which everything written so far is moved by calling it."""

    def move():
        target = tmp_path / "other"
        shutil.move(runs, target)
        runs.mkdir()
        return target

    return move


def compared(a, b):
    return compare(*load_together([a, b], wide=True))


def test_the_same_cells_are_the_same(runs, answered, set_aside):
    for seed in range(2):
        answered("lora", 2e-3, seed, [1.0, 0.0, 1.0])
    folder = set_aside()
    for seed in range(2):
        answered("lora", 2e-3, seed, [1.0, 0.0, 1.0])
    table = compared(folder, runs)
    assert table["same"].tolist() == [True] and table["p"].tolist() == [1.0] and table["seeds"].tolist() == [2]
    assert "1 cells in both; 1 the same on every problem; 0 differ beyond noise." in text(table, ("A", "B"))


def test_seeds_that_agree_are_evidence_together(runs, answered, set_aside):
    """None of the five alone is significant among so many cells."""
    generator, right = np.random.default_rng(0), [1.0] * 80 + [0.0] * 120
    for seed in range(5):
        answered("lora", 2e-3, seed, right)
        answered("pissa", 2e-3, seed, right)
    folder = set_aside()
    for seed in range(5):
        better = np.array(right)
        better[80 + generator.choice(120, 8, replace=False)] = 1.0
        better[generator.choice(80, 2, replace=False)] = 0.0
        answered("lora", 2e-3, seed, better.tolist())
        answered("pissa", 2e-3, seed, right)
    table = compared(folder, runs)
    lora, pissa = (table[table["variant"] == name].iloc[0] for name in ("lora", "pissa"))
    assert lora["how"] == pissa["how"] == "paired" and lora["seeds"] == pissa["seeds"] == 5
    assert lora["p"] < 0.05 and lora["difference"] == pytest.approx(0.03)
    assert pissa["p"] == 1 and pissa["same"]
    shown = text(table, ("A", "B"))
    assert "Several shared seeds: by the noise of training and of the test problems." in shown and "One shared" not in shown


def test_own_seeds_against_published_means(runs, write):
    published = load_together([PUBLISHED])[0]
    config = {"model": {"name": "gemma-3-1b"}, "task": {"name": "math"}, "rank": 128, "train_samples": 100000}
    theirs = published[
        (published["model"] == "gemma-3-1b") & (published["batch_size"] == 16) & (published["variant"] == "lora")
    ]
    near, far = theirs.iloc[4], theirs.iloc[5]
    for seed, error in enumerate((-0.001, 0.0, 0.001)):
        write("lora", near["lr"] * 1.0002, seed, near["test"] + error, config=config)
        write("lora", far["lr"], seed, far["test"] + 0.2 + error, config=config)
    table = compared(runs, PUBLISHED).sort_values("lr")
    assert table["how"].tolist() == ["seeds", "seeds"]
    assert table["p"].iloc[0] > 0.5 and table["p"].iloc[1] < 0.01
    shown = text(table, ("ours", "paper"))
    assert "A: ours" in shown and "2 cells in both" in shown and "1 differ beyond noise" in shown
    assert "Means over seeds: by the noise of training (Welch)" in shown and "shared seed" not in shown


def test_nothing_in_common_is_one_line(runs, write):
    write("lora")
    with pytest.raises(AnalysisError, match=r"no cell in common: A has 1 cells of tiny · arithmetic; B has 999 cells of"):
        compared(runs, PUBLISHED)


def test_settings_that_only_differ_between_the_two_are_told(runs, answered, set_aside):
    """Within each set they are the same, so no column holds them."""
    answered("lora", 2e-3, 0, [1.0, 0.0, 1.0], config={"trainer": {"warmup_ratio": 0.03}})
    answered("lora", 2e-4, 0, [1.0, 0.0, 1.0], config={"trainer": {"warmup_ratio": 0.03}})
    folder = set_aside()
    answered("lora", 2e-3, 0, [1.0, 0.0, 1.0], config={"trainer": {"warmup_ratio": 0.1}})
    table = compared(folder, runs)
    assert table.attrs["unlike"] == ["trainer.warmup_ratio 0.03 | 0.1"] and table.attrs["alone"] == (1, 0)
    shown = text(table, ("A", "B"))
    assert "Other settings: trainer.warmup_ratio 0.03 | 0.1." in shown and "Only in A: 1; only in B: 0" in shown


def test_an_option_that_one_of_the_two_lacks_is_unset(runs, write, set_aside):
    write(config={"trainer": {"warmup_ratio": 0.03}})
    folder = set_aside()
    write(config={"trainer": {"warmup_ratio": 0.03, "clip": 1.0}})
    assert compared(folder, runs).attrs["unlike"] == ["trainer.clip unset | 1.0"]


@pytest.mark.parametrize(
    "settings",
    [
        [{"trainer": {"warmup_ratio": 0.03}}, {"trainer": {"warmup_ratio": 0.1}}],
        [{"variant": {"name": "lora", "alpha": 8}}, {"variant": {"name": "lora", "alpha": 16}}],
    ],
    ids=["setting", "variant"],
)
@pytest.mark.parametrize("kept", [0, 1])
def test_a_part_of_the_settings_is_matched_with_its_like(runs, write, set_aside, settings, kept):
    for test, config in zip((0.5, 0.7), settings, strict=True):
        write("lora", test=test, config=config)
    folder = set_aside()
    write("lora", test=0.6, config=settings[kept])
    (row,) = (table := compared(folder, runs)).to_dict("records")
    assert row["a"] == (0.5, 0.7)[kept] and table.attrs["unlike"] == [] and table.attrs["alone"] == (1, 0)
    (row,) = compared(runs, folder).to_dict("records")
    assert row["b"] == (0.5, 0.7)[kept]


def test_other_values_of_an_option_that_varies_are_no_common_cell(runs, write, set_aside):
    for ratio in (0.03, 0.1):
        write(config={"trainer": {"warmup_ratio": ratio}})
    folder = set_aside()
    write(config={"trainer": {"warmup_ratio": 0.2}})
    with pytest.raises(AnalysisError, match="no cell in common"):
        compared(folder, runs)


def test_a_cell_that_diverged_in_one_alone_differs_and_is_not_the_same(runs, write, answered, set_aside):
    answered("lora", 2e-3, 0, [1.0, 0.0] * 20)
    write("pissa", 2e-3, 0, status="diverged", metrics=None)
    folder = set_aside()
    for variant in ("lora", "pissa"):
        write(variant, 2e-3, 0, status="diverged", metrics=None)
    shown = text(compared(folder, runs), ("A", "B"))
    assert "2 cells in both; 0 the same on every problem; 1 differ beyond noise." in shown
    assert "Diverged in both: 1." in shown and "-50.00" in shown


def test_only_shared_seeds_are_tested(runs, answered, set_aside):
    for seed in range(3):
        answered("lora", 2e-3, seed, [1.0, 0.0, 1.0])
    folder = set_aside()
    for seed in (2, 3):
        answered("lora", 2e-3, seed, [1.0, 0.0, 1.0])
    table = compared(folder, runs)
    assert table["seeds"].tolist() == [1] and table["how"].tolist() == ["mcnemar"] and table.attrs["alone"] == (2, 1)
    shown = text(table, ("A", "B"))
    assert "One shared seed: by the noise of the test problems" in shown and "Several shared" not in shown
    for test in ("McNemar", "a paired t-test where sets are unequally large or scores graded", "proportions without"):
        assert test in " ".join(shown.split())


def test_a_newer_record_of_a_cell_is_looked_for_in_its_own_folder(runs, write, set_aside):
    write(test=0.5, finished="2026-03-01")
    folder = set_aside()
    write(test=0.6, finished="2026-03-02")
    (row,) = compared(folder, runs).to_dict("records")
    assert (row["a"], row["b"]) == (0.5, 0.6)


def test_thousands_of_cells_are_matched_without_trying_every_pair(runs, write, monkeypatch):
    for lr in (1e-3, 2e-3):
        for rank in range(1, 41):
            write("lora", lr, 0, 0.5, config={"rank": rank})
    (frame,), tried = load_together([runs], wide=True), []
    monkeypatch.setattr("analysis.questions.compare.same_lr", lambda a, b: tried.append(a) or a == b)
    assert len(compare(frame, frame)) == 80
    assert len(tried) <= 80 * 2


@pytest.mark.parametrize(("factor", "common"), [(1.0005, True), (1 / 1.0005, True), (1.005, False)])
def test_learning_rates_are_the_same_but_for_rounding(runs, write, set_aside, factor, common):
    for lr in (1e-3, 2e-2):
        write("lora", lr)
    folder = set_aside()
    for lr in (1e-3 * factor, 2e-2):
        write("lora", lr)
    assert len(compared(folder, runs)) == 1 + common


def test_p_is_corrected_for_the_cells_that_have_one(runs, write, set_aside):
    """Nothing is known of the test sets of the second."""
    none = {key: {"mean": 0.5, "sets": {}} for key in ("validation", "test")}
    write("lora", 2e-3, 0, 0.2)
    write("pissa", 2e-3, 0, metrics=none)
    folder = set_aside()
    write("lora", 2e-3, 0, 0.9)
    write("pissa", 2e-3, 0, metrics=none)
    shown = text(compared(folder, runs), ("A", "B"))
    assert "p is corrected for 1 cells" in shown and "Not tested, for nothing tells their noise: 1." in shown


def test_the_command(runs, write, set_aside, capsys):
    write("lora", 2e-3, 0, 0.50, config={"trainer": {"warmup_ratio": 0.03}})
    write("lora", 2e-3, 0, 0.40, config={"trainer": {"warmup_ratio": 0.1}})
    folder = set_aside()
    path = write("lora", 2e-3, 0, 0.90, config={"trainer": {"warmup_ratio": 0.1}})
    record = json.loads(path.read_text())
    record["identity"]["task"]["fingerprint"] = "sha256:" + "c" * 64
    rewrite(path, record)
    assert main(["compare", str(folder), str(runs)]) in (0, None)
    shown = capsys.readouterr().out
    assert "trainer.warmup_ratio=0.1" in shown and "+50.00" in shown and "proportions" in shown
    assert "Other settings: task.fingerprint sha256:bbbbbbbb | sha256:cccccccc." in shown


def test_other_seeds_of_the_same_cells_are_told(runs, write, set_aside):
    write("lora", 2e-3, 0, 0.5)
    folder = set_aside()
    write("lora", 2e-3, 1, 0.5)
    with pytest.raises(AnalysisError, match=r"no cell in common: .*, and of the same cells other seeds \(0, 1\)"):
        compared(folder, runs)
