"""Which records are read, which are refused, and what is said about it."""

import json
import math
import random

import pytest

from analysis.errors import AnalysisError
from analysis.published import FOLDER as PUBLISHED
from analysis.read.load import load_beside, load_records
from analysis.read.record import read_row


def test_one_row_a_cell(runs, write):
    write("lora", 2e-3, 0, 0.9, validation=0.8)
    write("pissa", 2e-4, 1, 0.7, config={"train_samples": None, "rank": 64})
    frame = load_records(runs).set_index("variant")
    assert len(frame) == 2
    assert frame.loc["lora", ["lr", "seed", "test", "validation", "base_test"]].tolist() == [2e-3, 0, 0.9, 0.8, 0.01]
    assert frame.loc["lora", ["model", "task", "weights", "options"]].tolist() == ["tiny", "arithmetic", "pretrained", ""]
    assert frame["train_samples"].isna().to_dict() == {"lora": False, "pissa": True}
    assert frame.attrs["skipped"] == 0


def test_unfinished_cells_and_other_files_are_ignored(runs, write, caplog):
    write()
    (runs / "0123456789abcdef" / "checkpoint").mkdir(parents=True)
    (runs / "lr_curves.png").write_bytes(b"")
    assert len(load_records(runs)) == 1
    assert caplog.messages == []


def test_a_diverged_cell_scores_zero_whatever_its_metrics_say(runs, write):
    write(lr=2e-3, status="diverged", test=0.5)
    write(lr=6e-3, status="diverged", metrics=None)
    assert load_records(runs)[["test", "validation"]].to_numpy().tolist() == [[0, 0], [0, 0]]


def test_a_failed_cell_has_no_score_and_needs_no_more_than_its_config(runs, write, caplog):
    write(seed=0, test=0.9)
    path = write(seed=1, status="failed", metrics=None, base=None, error="out of memory", model=None, identity=None)
    frame = load_records(runs).set_index("seed")
    assert frame["status"].to_dict() == {0: "complete", 1: "failed"}
    assert frame["test"].isna().to_dict() == {0: False, 1: True}
    assert len(caplog.messages) == 1
    assert str(path) in caplog.messages[0]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('{"schema_version": 1, "id": "ab', "half-written"),
        ("", "half-written"),
        ("[]", "list, not an object"),
        (b"\xff\xfe\x00", "not UTF-8"),
        ("[" * 200_000, "nested too deeply"),
    ],
)
def test_a_file_that_is_no_record_is_skipped_with_one_line(runs, write, caplog, content, reason):
    write(seed=0, test=0.9)
    path = write(seed=1, test=0.1)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    frame = load_records(runs)
    assert frame["test"].tolist() == [0.9]
    assert frame.attrs["skipped"] == 1
    assert len(caplog.messages) == 1
    assert str(path) in caplog.messages[0]
    assert reason in caplog.messages[0]


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("schema_version", 3, "schema_version 3 is newer"),
        ("schema_version", 0, "unknown schema_version 0"),
        ("schema_version", None, "schema_version is None"),
        ("status", "running", "unknown status 'running'"),
        ("metrics.test.mean", 90.0, "metrics.test.mean is 90.0, not a fraction"),
        ("metrics.test.mean", float("nan"), "metrics.test.mean is nan, not a fraction"),
        ("metrics.validation", {}, "metrics.validation.mean is missing"),
        ("metrics", None, "metrics.test.mean is missing"),
        ("base", "x", "base is a JSON str, not dict"),
        ("base", {"validation": 0.0}, "base.test is missing"),
        ("metrics.test.mean", 10**400, "metrics.test.mean is 1000"),
        ("config.variant.name", " ", "config.variant.name is empty"),
        ("config.lr", 0, "config.lr is 0, not a positive number"),
        ("config.lr", 10**400, "not a positive number"),
        ("config.epochs", -1, "config.epochs is -1, not a positive number"),
        ("config.rank", 0, "config.rank is 0, not a whole number from 1 to 9223372036854775807"),
        ("config.rank", 10**30, "not a whole number from 1"),
        ("config.batch_size", 0, "config.batch_size is 0, not a whole number from 1"),
        ("config.train_samples", -5, "config.train_samples is -5, not a whole number from 1"),
        ("config.train_samples", 10**30, "not a whole number from 1"),
        ("config.seed", 10**25, "config.seed is 1000"),
        ("training.seconds", -3.0, "training.seconds is -3.0, not a number of 0 or more"),
        ("training.seconds", 10**400, "not a number of 0 or more"),
        ("identity.train_fraction", 1.5, "identity.train_fraction is 1.5, not a fraction above 0 and up to 1"),
        ("config.lr", "2e-3", "config.lr is '2e-3'"),
        ("config.seed", True, "config.seed is True"),
        ("config.variant", "lora", "config.variant.name is missing"),
        ("model", None, "model.weights is missing"),
        ("identity", {}, "identity.variant is missing"),
    ],
)
def test_an_invalid_record_is_skipped_with_the_key_and_what_was_found(runs, write, change, caplog, key, value, reason):
    write(seed=0, test=0.9)
    change(write(seed=1, test=0.1), key, value)
    frame = load_records(runs)
    assert frame["test"].tolist() == [0.9]
    assert frame.attrs["skipped"] == 1
    assert len(caplog.messages) == 1
    assert reason in caplog.messages[0]


TRAINER = {"warmup_ratio": 0.03, "betas": [0.9, 0.999]}


def test_a_lone_surrogate_in_a_text_is_refused(runs, write, caplog):
    write(seed=0, test=0.9)
    write(seed=1, config={"variant": {"name": "lora", "alpha": "\ud800"}})
    write(seed=2, config={"variant": {"name": "lora", "\ud800": "8"}})
    assert load_records(runs)["test"].tolist() == [0.9]
    assert caplog.text.count("a lone surrogate") == 2


def test_of_two_records_of_one_cell_the_newest_counts(runs, write, caplog):
    """An option that is null decides nothing, and once had a hash of its own."""
    path = write(test=0.5)
    write(test=0.9, config={"trainer": TRAINER | {"later": None}}, finished="2026-03-02T10:00:00+00:00")
    assert load_records(runs)["test"].tolist() == [0.9]
    assert caplog.messages == [f"left out, for newer records of the same cells are used: 1, the first is {path}"]


def test_the_newest_is_found_across_time_zones_and_many_older_ones_are_one_line(runs, write, caplog):
    """10 minutes past midnight two hours east is 22:10 UTC, before 23:30, although its text is later."""
    times = {
        "0": "2026-03-01T22:00:00Z",
        "a": "2026-03-01T23:30:00+00:00",
        "b": "2026-03-02T00:10:00+02:00",
        "c": "None",
        "d": None,
    }
    for seed in (0, 1):
        for i, (name, finished) in enumerate(times.items()):
            write(seed=seed, test=i / 10, config={"trainer": TRAINER | {name: None}}, finished=finished)
    assert load_records(runs)["test"].tolist() == [0.1, 0.1]
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith(f"left out, for newer records of the same cells are used: 8, the first is {runs}")


def test_errors_say_what_was_found(runs, write, caplog):
    with pytest.raises(AnalysisError, match="is not a directory"):
        load_records(runs / "missing")
    (runs / "unfinished").mkdir()
    with pytest.raises(AnalysisError, match=r"folders without a record\.json: 1"):
        load_records(runs)
    path = write(status="failed", metrics=None)
    with pytest.raises(AnalysisError, match="is a single cell: pass the folder above"):
        load_records(path.parent)
    with pytest.raises(AnalysisError, match=r"no score in .*, cells that failed: 1; see"):
        load_records(runs)
    path.write_text("{")
    with pytest.raises(AnalysisError, match=r"no readable record in .* \(1 skipped, for the reasons above\)$"):
        load_records(runs)


def mutated(tree, generator):
    """A copy of a JSON tree in which one value is of another type, or missing."""
    copy = json.loads(json.dumps(tree))
    node = copy
    while True:
        key = generator.choice(sorted(node))
        if isinstance(node[key], dict) and node[key] and generator.random() < 0.7:
            node = node[key]
            continue
        if generator.random() < 0.2:
            del node[key]
        else:
            node[key] = generator.choice([None, [], [1], {}, {"a": 1}, "text", -1, True, float("nan")])
        return copy


def test_whatever_is_wrong_with_a_record_it_is_skipped_or_read(runs, write):
    """500 records with one damaged value: each is a row or a reason in one line, and never a score out of range."""
    good = json.loads(write(subset={"name": "random"}).read_text())
    good |= {"versions": {"torch": "2"}, "git": {"commit": "a"}, "device": {"type": "cpu"}}
    good["identity"] |= {"train_fraction": 0.5, "subset": {"name": "random"}}
    path, generator, reasons = runs / "record.json", random.Random(0), []
    for _ in range(500):
        path.write_text(json.dumps(mutated(good, generator)))
        try:
            row = read_row(path)
        except ValueError as error:
            reasons.append(str(error))
        else:
            assert math.isnan(row["test"]) or 0 <= row["test"] <= 1
    assert len(reasons) > 50 and not any("\n" in reason for reason in reasons)


def test_published_cells_of_the_same_model_and_task_beside_own_ones(runs, write):
    write("lora", 2e-4, 0, 0.5, config={"model": {"name": "gemma-3-1b"}, "task": {"name": "math"}})
    assert len(load_beside(runs, None)) == 1
    both = load_beside(runs, PUBLISHED)
    assert set(both["model"]) == {"gemma-3-1b"} and both["source"].value_counts().to_dict() == {"arXiv 2602.04998": 180, "": 1}
    with pytest.raises(AnalysisError, match="has no cell of gemma-3-1b · math to show beside the own ones"):
        load_beside(runs, runs)
