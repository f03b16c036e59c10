"""One problem's answers side by side."""

import gzip

import pytest

from analysis.errors import AnalysisError
from analysis.questions.responses import problem, telling, text
from analysis.read.load import load_records


@pytest.fixture
def sweep(runs, answered):
    answered("pissa", 2e-3, 0, [1.0, 1.0, 0.0])
    answered("lora", 2e-3, 0, [1.0, 1.0, 0.0])
    answered("lora", 2e-4, 0, [1.0, 0.0, 0.0])
    answered("pissa", 2e-4, 0, [1.0, 0.0, 0.0])
    return load_records(runs)


def test_the_problem_on_which_cells_disagree_is_shown_unless_one_is_named(sweep):
    assert telling(sweep) == ("arithmetic", "arithmetic", ("test/1", "Q1?", "1"))
    assert problem(sweep).prompt == "Q1?"
    assert problem(sweep, "test/2").gold == "2"


def test_answers_are_in_order_and_marked(sweep):
    answered = problem(sweep)
    assert [(a.variant, a.lr, a.score) for a in answered.answers] == [
        ("lora", 2e-4, 0.0), ("lora", 2e-3, 1.0), ("pissa", 2e-4, 0.0), ("pissa", 2e-3, 1.0)
    ]  # fmt: skip
    shown = text(answered)
    assert "lr 2e-3 seed 0: right\n      lora 0.002 says 1" in shown
    assert "lr 2e-4 seed 0: WRONG" in shown and "2 of 4 answers are right." in shown


def test_bad_input(sweep, runs, write):
    with pytest.raises(AnalysisError, match="no cell has completions of the test problem test/9 of arithmetic"):
        problem(sweep, "test/9", "arithmetic")
    for folder in runs.iterdir():
        (folder / "completions.jsonl.gz").unlink()
    with pytest.raises(AnalysisError, match="no cell has completions"):
        problem(sweep)


def test_problems_of_other_tasks_are_never_mixed(sweep, runs, answered, caplog):
    """The sets and ids of the two tasks are alike, their problems are not."""
    for lr in (2e-4, 2e-3, 6e-3, 2e-2, 6e-2):
        path = answered("lora", lr, 0, [1.0, 0.0], config={"task": {"name": "code"}}).parent / "completions.jsonl.gz"
        lines = gzip.decompress(path.read_bytes()).replace(b'"Q', b'"Code Q')
        path.write_bytes(gzip.compress(lines))
    both = load_records(runs)
    shown = problem(both)
    assert shown.prompt.startswith("Code") and len(shown.answers) == 5  # the task with most answers
    assert caplog.messages == []
    shown = problem(both, "test/0")
    assert shown.prompt == "Code Q0?" and len(shown.answers) == 5
    assert caplog.messages == [
        "2 different test problems have the id test/0, in arithmetic (set arithmetic), code (set arithmetic): "
        "shown is the one of most answers"
    ]
    with pytest.raises(AnalysisError, match="no cell has completions of test problems of other beside its record"):
        problem(both, set="other")


def test_answers_say_what_sets_their_cells_apart(runs, answered):
    for samples in (100, 200):
        for model in ("tiny", "small"):
            answered("lora", 2e-3, 0, [1.0], config={"train_samples": samples, "model": {"name": model}})
    settings = {answer.setting for answer in problem(load_records(runs)).answers}
    assert settings == {f"{m} · rank 8 · batch size 16 · {n} samples" for m in ("tiny", "small") for n in (100, 200)}


def test_problems_of_one_task_that_share_an_id_are_told_apart_by_what_they_ask(sweep, runs, answered):
    """Two models of other prompt templates."""
    for lr in (2e-4, 2e-3, 6e-3, 2e-2, 6e-2):
        path = answered("lora", lr, 0, [1.0, 0.0], config={"model": {"name": "small"}}).parent / "completions.jsonl.gz"
        path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()).replace(b'"Q', b'"User: Q')))
    shown = problem(load_records(runs))
    assert shown.prompt.startswith("User: ") and len(shown.answers) == 5


def test_failed_cells_set_nothing_apart(sweep, runs, write):
    write("lora", 6e-2, 0, status="failed", metrics=None, model=None)
    assert {answer.setting for answer in problem(load_records(runs)).answers} == {"rank 8 · batch size 16"}


def test_an_answer_without_a_score_is_neither_right_nor_wrong(runs, answered):
    answered("lora", 2e-3, 0, [1.0])
    path = answered("pissa", 2e-3, 0, [0.0]).parent / "completions.jsonl.gz"
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()).replace(b'"score": 0.0', b'"score": null')))
    shown = text(problem(load_records(runs)))
    assert "seed 0: unscored" in shown and "WRONG" not in shown
    assert "1 of 2 answers are right, 1 unscored." in shown


def test_a_terminal_obeys_no_answer(runs, write, complete):
    complete(write("lora", 2e-3, 0, 0.5), 0.5, "\x1b[2J\x1b]0;title\x07 4\r5\x9b\u202f\ud800\n\tü")
    shown = text(problem(load_records(runs)))
    assert r"\x1b[2J\x1b]0;title\x07 4\r5\x9b" in shown and r"\ud800" in shown and "ü" in shown
    assert all(sign.isprintable() or sign in "\n\t\u202f" for sign in shown)
