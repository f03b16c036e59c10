"""task.scorer=code: completions run with the tests of their row, and rows whose own response does not pass them."""

import json

import pytest

from lorabench.errors import UserError
from lorabench.sandbox import pool
from lorabench.tasks.own import proofs
from lorabench.tasks.scorers import code
from lorabench.tasks.scorers.code import code_in

COLUMNS = {"prompt": "text", "response": "code", "tests": "tests"}


def rows(n=24, tests=lambda i: [f"assert add{i}(1, 2) == {3 + i}", f"assert add{i}(0, 0) == {i}"]):
    return [
        {"text": f"Add {i} more", "code": f"def add{i}(a, b):\n    return a + b + {i}\n", "tests": tests(i)} for i in range(n)
    ]


def texts(i):
    return f"\n    assert add{i}(1, 2) == {3 + i}\n    assert add{i}(0, 0) == {i}\n"


@pytest.mark.parametrize(
    "form", [None, texts, lambda i: json.dumps([f"assert add{i}(1, 2) == {3 + i}"])], ids=["list", "text", "JSON"]
)
def test_completions_are_run_with_the_tests_of_their_row(form, custom):
    task = custom(rows() if form is None else rows(tests=form), "code", columns=COLUMNS)
    test = task.test_examples()
    assert len(test) == 2 and task.validation == "score" and len(task.validation_examples()) == 3
    first = test[0]
    number = first.question.split()[1]
    header = f"def add{number}(a, b):\n    "
    right = [
        f"{header}return {number} + b + a",
        f"Sure!\n```python\n{header}return a + b + {number}\n```\nThis adds.\n```\nadd(1, 2)\n```",
        f"```\n{header}return a + b + {number}",
        f" import math\n{header}return a + b + {number}\nif __name__ == '__main__':\n    input()",
        f"{header}return a + b + {number}\r\n".replace("\n", "\r\n"),
        f"<think>\nsyntax error (\n</think>\n{header}return a + b + {number}",
    ]
    wrong = [
        f"{header}return a + b - 99",
        "",
        "It cannot be done.",
        f"{header}return a + b + {number}\nraise ValueError",
        f"def add(a, b):\n    return a + b + {number}",
        f"{header}import sys; sys.exit(0)",
        "```python\n```",
        "```python",
        "\0",
        "日本語" * 1000,
    ]
    assert [score["score"] for score in task.score_all([first] * len(right), right)] == [1.0] * len(right)
    assert [score["score"] for score in task.score_all([first] * len(wrong), wrong)] == [0.0] * len(wrong)
    assert task.score(first, right[0]) == 1


@pytest.mark.parametrize(
    ("completion", "run"),
    [
        ("x = 1", "x = 1"),
        ("```python\nx = 1\n```", "x = 1"),
        ("text\n```bash\nls\n```\n```Python\nx = 1\n```", "x = 1"),
        ("~\n```\nx = 1\n```\n```\ny\n```", "x = 1"),
        ("  ```py\n  x = 1\n  ```", "x = 1"),
        ("```python title=a.py\nx = 1", "x = 1"),
        ("    x = 1\n    y = 2", "x = 1\ny = 2"),
        ("x = '```'", "x = '```'"),
        ("", ""),
    ],
)
def test_the_part_of_a_completion_that_is_run(completion, run):
    assert code_in(completion) == run


def test_fences_without_end_take_no_time():
    assert code_in("```python\n" * 20_000).startswith("```python") or code_in("```python\n" * 20_000) == ""


def test_a_row_whose_response_fails_its_tests_is_named(custom):
    wrong = rows(tests=lambda i: [f"assert add{i}(1, 2) == 0"])
    with pytest.raises(
        UserError, match=r"row train/\d+ \(.*mine.jsonl, line \d+\) with the gold 'def add.*the scorer finds wrong itself"
    ):
        custom(wrong, "code", columns=COLUMNS, test=0.2).test_examples()
    some = [*rows(24), *[row | {"text": f"other {i}", "tests": ["assert False"]} for i, row in enumerate(rows(24))]]
    task = custom(some, "code", columns=COLUMNS, test=0.5, skip_bad_rows=True)
    assert 0 < len(task.test_examples()) < 24
    assert all("assert False" not in example.tests for example in [*task.test_examples(), *task.validation_examples()])


def test_tests_that_test_nothing_are_told(custom, capsys):
    idle = rows(tests=lambda i: "def check(candidate):\n    assert candidate(1, 2) == 0\n")
    with pytest.raises(UserError, match="which the scorer finds wrong itself"):
        custom(idle, "code", columns=COLUMNS).test_examples()
    assert "the tests of 2 of 2 rows pass without any code, such as those of train/" in capsys.readouterr().err


@pytest.mark.parametrize("tests", [None, "", [], "  "])
def test_a_row_without_tests_is_named(tests, custom):
    bare = rows()
    bare[3]["tests"] = tests
    with pytest.raises(UserError, match=r"row train/3 \(.*, line 4\) has .*tests"):
        custom(bare, "code", columns=COLUMNS).train_examples()


def test_a_column_of_tests_must_be_named_and_be_there(custom):
    with pytest.raises(UserError, match=r"task.scorer=code needs tests: say which column has them, task.columns.tests=COLUMN"):
        custom(rows(), "code", columns={"prompt": "text", "response": "code"})
    with pytest.raises(UserError, match=r"task.columns.tests=test: .* has no such column; did you mean 'tests'"):
        custom(rows(), "code", columns=COLUMNS | {"tests": "test"}).train_examples()


def test_what_runs_too_long_is_wrong_and_counted(custom, monkeypatch, capsys):
    task = custom(rows(), "code", columns=COLUMNS)
    example = task.test_examples()[0]
    monkeypatch.setattr(code, "SECONDS", 1.0)
    assert task.score(example, "while True: pass") == 0
    assert "1 of 1 solutions ran longer than 1 s, such as that of train/" in capsys.readouterr().err


def test_rows_prove_themselves_many_at_once(custom, monkeypatch):
    """A pool of workers for each row would take seconds a row."""
    calls, run = [], pool.run
    monkeypatch.setattr(pool, "run", lambda jobs, *args, **kwargs: calls.append(len(jobs)) or run(jobs, *args, **kwargs))
    task = custom(rows(), "code", columns=COLUMNS)
    assert (len(task.test_examples()), len(task.validation_examples())) == (2, 3)
    assert calls == [2 * 2, 2 * 22]
    monkeypatch.setattr(proofs, "TOGETHER", 2)
    calls.clear()
    task = custom(rows(), "code", columns=COLUMNS)
    assert (len(task.test_examples()), len(task.validation_examples())) == (2, 3)
    assert calls == [2 * 2] * 3
