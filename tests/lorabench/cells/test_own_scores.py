"""Scores and samples of a class of one's own that cannot be are refused; before, a mean that is no number was 'complete'."""

import json
from typing import ClassVar

import pytest
import torch

from lorabench.cells.cell import Cell
from lorabench.cells.run import run
from lorabench.cells.scores import score
from lorabench.contributed import OwnFault, reason
from lorabench.subsets.random import Random
from lorabench.tasks.arithmetic import Arithmetic

SMALL = ["train_samples=8", "batch_size=8", "task.test_samples=2", "task.validation_samples=2", "task.max_new_tokens=1"]


class Mine(Arithmetic):
    """Gives what a test puts here."""

    given: ClassVar[list] = []

    def score_all(self, examples, completions):
        return self.given[: len(examples)]


class Percent(Arithmetic):
    """Scores in percent."""

    def score(self, example, completion):
        return 100.0


@pytest.fixture
def task():
    return Mine(name="mine", max_new_tokens=1, validation_samples=2, test_samples=2)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ([{"score": 1.0}], "gave 1 scores for 2 completions"),
        ([{"score": 1.0}, {"score": float("nan")}], "gave the score nan to validation/1; a score is a number in 0 … 1"),
        ([{"score": 50}, {"score": 1}], "gave the score 50 to validation/0; a score is a number in 0 … 1"),
        ([{}, {}], "gave the score null to validation/0; a score is a number in 0 … 1"),
        (
            [{"score": 1, "length": 3}, {"score": 1}],
            "gave numbers to validation/1 and others of its set, but length not to all",
        ),
        *[
            ([{"score": 1, key: 0.5}] * 2, f"gave validation/0 the key {key}, which a record has for its own")
            for key in ("n", "stderr", "groups", "mean", "sets", "id", "group")
        ],
        (
            [{"score": 1, "extra": 0.5}, {"score": 1, "extra": float("nan")}],
            "gave validation/1 extra=nan; a number must be finite",
        ),
        ([{"score": 1, "big": 10**400}] * 2, "gave validation/0 big=10000000000000000000; a number must be finite"),
        ([{"score": 1, "big": 7.5}] * 2, "gave big a mean of 7.5 on arithmetic; what is reported lies in 0 … 1"),
        ([{"score": 1, "length": 3}] * 2, "gave length a mean of 3 on arithmetic; what is reported lies in 0 … 1"),
        ([{"score": 1, "ids": torch.ones(1)}] * 2, "gave validation/0 a Tensor as ids, which no JSON holds"),
    ],
)
def test_scores_that_cannot_be_are_one_line(task, given, text):
    task.given = given
    examples = {"validation": task.validation_examples(), "test": task.test_examples()}
    rows = [{"split": split, "id": e.id, "completion": ""} for split, members in examples.items() for e in members]
    with pytest.raises(OwnFault) as caught:
        score(task, rows, {})
    assert reason(caught.value).partition(": ")[2].startswith(f"Mine.score_all() {text}")


class Length(Mine):
    """Its own summary gives a mean that is no fraction, beside a count."""

    def summary(self, examples, scores):
        return super().summary(examples, scores) | {"words": 12, "length": 6.0}


def test_a_summary_of_ones_own_holds_fractions_and_counts(task):
    task = Length(name="mine", max_new_tokens=1, validation_samples=2, test_samples=2)
    task.given = [{"score": 1, "part": 0.5}] * 2
    rows = [{"split": "validation", "id": e.id, "completion": ""} for e in task.validation_examples()]
    with pytest.raises(OwnFault, match=r"Length\.summary\(\) gave length a mean of 6 on arithmetic"):
        score(task, rows, {}, ("validation",))


class Twice(Random):
    def samples(self, size, count, generator):
        return [0] * count


class Beyond(Random):
    def samples(self, size, count, generator):
        return [size + i for i in range(count)]


class Negative(Random):
    def samples(self, size, count, generator):
        return [-1 - i for i in range(count)]


class Others(Random):
    def order(self, base, corpus, chosen, validation, generator):
        return [number for number in range(100) if number not in chosen]


@pytest.mark.parametrize(
    ("group", "cls", "text"),
    [
        ("subset", Twice, "samples() must return 8 different numbers in 0 … 19999, and did not"),
        ("subset", Beyond, "samples() must return 8 different numbers in 0 … 19999, and did not"),
        ("subset", Negative, "samples() must return 8 different numbers in 0 … 19999, and did not"),
        ("subset", Others, "order() must return the samples that it is given, each once, and did not"),
        ("task", Percent, "score() gave the score 100.0 to validation/0; a score is a number in 0 … 1"),
    ],
    ids=lambda of: of.__name__ if isinstance(of, type) else "",
)
def test_a_cell_with_such_a_class_fails_in_one_line(cell, group, cls, text):
    made = cell(*SMALL, *["train_fraction=0.5"][: cls is Others])
    node = {"_target_": f"{cls.__module__}.{cls.__qualname__}", "name": "mine"}
    made = Cell(made.config | {group: made.config[group] | node}, made.session)
    with pytest.raises(OwnFault):
        run(made)
    record = json.loads((made.folder / "record.json").read_text())
    assert record["status"] == "failed" and record["error"].startswith("test_own_scores.py:")
    assert record["error"].endswith(f": {cls.__name__}.{text}")
