import json

import pytest

from lorabench.tasks.scoring.latex import boxed_answer, final_answer


@pytest.mark.parametrize(
    ("solution", "answer"),
    [
        (r"so $\boxed{4}$ or rather $\boxed{\frac{1}{2}}.$", r"\frac{1}{2}"),
        (r"so $x = \boxed {7}$", "7"),
        (r"so $\fbox{B}$", "B"),
        (r"so $\boxed 5$ apples", "5"),
        (r"$\boxed{\left\{ 1, 2 \right\}}$", r"\left\{ 1, 2 \right\}"),
        (r"so $\boxed{4", None),
        ("so 4", None),
    ],
)
def test_the_gold_answer_is_in_the_last_box(solution, answer):
    assert boxed_answer(solution) == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("The answer is: 72", "72"),
        ("The answer is: 72.", "72"),
        ("The answer is:  x + 1 .\nMore text.", "x + 1"),
        ("The answer is: 1. No. The answer is: 2", "2"),
        ("The answer is: 2.5", "2.5"),
        ("The answer is: 2\nMore", "2\nMore"),
        ("The answer is: ", ""),
        ("the answer is: 72", None),
        ("72", None),
    ],
)
def test_final_answer(text, answer):
    assert final_answer(text) == answer


def test_boxes_of_the_real_math_hold_the_published_answers(shared_data):
    rows = [json.loads(line) for line in (shared_data / "pissa_eval" / "math500.jsonl").read_text().splitlines()]
    assert [boxed_answer(row["solution"]) for row in rows] == [row["answer"] for row in rows]
