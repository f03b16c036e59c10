"""One problem's answers side by side."""

import pytest

from analysis.errors import AnalysisError
from analysis.load import load_records
from analysis.responses import problem, telling, text


@pytest.fixture
def sweep(runs, answered):
    answered("pissa", 2e-3, 0, [1.0, 1.0, 0.0])
    answered("lora", 2e-3, 0, [1.0, 1.0, 0.0])
    answered("lora", 2e-4, 0, [1.0, 0.0, 0.0])
    answered("pissa", 2e-4, 0, [1.0, 0.0, 0.0])
    return load_records(runs)


def test_the_problem_on_which_cells_disagree_is_shown_unless_one_is_named(sweep):
    assert telling(sweep) == ("arithmetic", "test/1")
    assert problem(sweep).prompt == "Q1?"
    assert problem(sweep, "test/2").gold == "2"


def test_answers_are_in_order_and_marked(sweep):
    found = problem(sweep)
    assert [(a.variant, a.lr, a.score) for a in found.answers] == [
        ("lora", 2e-4, 0.0), ("lora", 2e-3, 1.0), ("pissa", 2e-4, 0.0), ("pissa", 2e-3, 1.0)
    ]  # fmt: skip
    shown = text(found)
    assert "lr 2e-3 seed 0: right\n      lora 0.002 says 1" in shown
    assert "lr 2e-4 seed 0: WRONG" in shown and "2 of 4 answers are right." in shown


def test_bad_input(sweep, runs, write):
    with pytest.raises(AnalysisError, match="no cell has a completion of the test problem test/9 of arithmetic"):
        problem(sweep, "test/9", "arithmetic")
    for folder in runs.iterdir():
        (folder / "completions.jsonl.gz").unlink()
    from analysis import examples

    examples.scores.cache_clear()
    with pytest.raises(AnalysisError, match="no cell has completions"):
        problem(sweep)
