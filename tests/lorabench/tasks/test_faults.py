"""Test sets with golds that nothing can meet, and with questions asked twice."""

import json
import re

import pytest

from lorabench.errors import UserError
from lorabench.tasks.commonsense import Commonsense
from lorabench.tasks.math import Math
from lorabench.tasks.sourced import SourcedTask


def write(folder, name, rows):
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))


def make(folder, rows, published=None, **changed):
    write(folder, "gsm8k.jsonl", rows)
    sets = {"gsm8k": {"rows": published}}
    return Math(**{"name": "math", "max_new_tokens": 9, "validation_samples": 1, "path": str(folder), "test": sets, **changed})


def choice(i, answer="answer1", output="the correct answer is answer1"):
    return {"instruction": f"Which {i}?", "output": output, "answer": answer}


def choices(folder, rows, published=None):
    write(folder, "social_i_qa.jsonl", rows)
    sets = {"social_i_qa": {"rows": published}}
    return Commonsense(name="commonsense", max_new_tokens=9, validation_samples=1, path=str(folder), test=sets)


def refused(task):
    with pytest.raises(UserError) as caught:
        task.test_examples()
    assert "\n" not in str(caught.value)
    return re.sub(r"\(/.*?/([^/]*)\)", r"(\1)", str(caught.value))


def told(task, capsys):
    task.test_examples()
    assert task.test_examples() is task.test_examples()
    return capsys.readouterr().err.splitlines()


def test_a_gold_that_its_own_scorer_finds_wrong_is_named(tmp_path, capsys):
    rows = [choice(0), choice(1, output="the correct answer is answer2, not answer1")]
    assert refused(choices(tmp_path, rows)) == (
        "task=commonsense: row social_i_qa/1 (social_i_qa.jsonl, line 2) with the gold 'answer1', which the scorer finds wrong "
        "itself; mend the row"
    )
    [line] = told(choices(tmp_path, rows, published=2), capsys)
    assert "1 of 2 golds of social_i_qa can be met by no answer, such as social_i_qa/1 (" in line


@pytest.mark.parametrize("again", ["a b", "a  b", "a b\n"])
def test_two_golds_of_one_question_are_named(tmp_path, capsys, again):
    rows = [{"question": text, "answer": f"#### {gold}"} for text, gold in (("a b", 1), ("c", 1), (again, 2))]
    assert refused(make(tmp_path, rows)) == (
        "task=math: rows gsm8k/0 (gsm8k.jsonl, line 1) with the gold '1' and gsm8k/2 (gsm8k.jsonl, line 3) with the gold '2' ask "
        "the same question; mend one or take it out"
    )
    [line] = told(make(tmp_path, rows, published=3), capsys)
    assert "gsm8k asks 1 of its 2 questions more than once, 1 of them with golds that contradict each other" in line


@pytest.mark.parametrize("other", ["#### 1,000", "So.\n#### 1000.00"])
def test_a_row_that_stands_there_twice_is_one_line(tmp_path, capsys, other):
    rows = [
        {"question": question, "answer": answer} for question, answer in (("a", "#### 1000"), ("b", "#### 1"), ("a", other))
    ]
    [line] = told(make(tmp_path, rows), capsys)
    assert re.search(r"asks 1 of its 2 questions more than once, such as in gsm8k/0 \(.*, line 1\) and gsm8k/2 \(", line)
    assert told(make(tmp_path, rows[:2]), capsys) == []
    assert told(make(tmp_path, rows, test_samples=2), capsys) == []  # what is not used is not looked at


def test_the_published_sets_pass_and_say_what_is_in_them(shared_data, capsys):
    assert told(make_gsm8k(shared_data), capsys) == []
    sizes = {"boolq": 3270, "piqa": 1838, "social_i_qa": 1954, "winogrande": 1267, "ARC-Easy": 2376, "ARC-Challenge": 1172, "openbookqa": 500}  # fmt: skip
    folder = shared_data / "commonsense"
    sets = {name: {"path": str(folder / f"{name}.test.json"), "rows": rows} for name, rows in sizes.items()}
    task = Commonsense(name="commonsense", max_new_tokens=9, validation_samples=500, test=sets, path=str(folder / "commonsense_4task_train.jsonl.gz"))  # fmt: skip
    [line] = told(task, capsys)
    assert "social_i_qa asks 24 of its 1930 questions more than once, 5 of them with golds that contradict each other" in line
    assert len(task.validation_examples()) == 500
    assert capsys.readouterr().err == ""


def make_gsm8k(shared_data):
    test = {"gsm8k": {"files": ["test"], "rows": 1319}}
    return Math(name="math", max_new_tokens=9, validation_samples=1, path=str(shared_data / "gsm8k"), test=test)


def test_more_test_samples_than_rows_are_one_line(tmp_path, capsys):
    rows = [{"question": str(i), "answer": f"#### {i}"} for i in range(3)]
    assert refused(make(tmp_path, rows, test_samples=4)) == (
        "task.test_samples=4 is more than there are (gsm8k has 3); use task.test_samples=null for all"
    )
    write(tmp_path, "more.jsonl", [{"question": str(i), "answer": f"#### {i}"} for i in range(5)])
    task = make(tmp_path, rows, test_samples=4, test={"gsm8k": {}, "more": {}})
    assert told(task, capsys) == ["task.test_samples=4: gsm8k has 3, all of which are used"]
    assert len(task.test_examples()) == 7
    assert len(make(tmp_path, rows, test_samples=3).test_examples()) == 3


def test_a_set_is_named_once(tmp_path):
    with pytest.raises(UserError, match=r"^task\.sets has gsm8k twice; a set counts once: task\.sets=\[gsm8k\]$"):
        make(tmp_path, [], sets=["gsm8k", "gsm8k"])


def test_every_sourced_task_says_which_of_its_sets_are_published(tmp_path):
    write(tmp_path, "own.jsonl", [{"question": "a", "answer": "#### 1"}])
    task = Math(
        name="math", max_new_tokens=9, validation_samples=1, test={"own": {"path": str(tmp_path / "own.jsonl")}, "hub": {}}
    )
    assert isinstance(task, SourcedTask)
    assert (task.published("own"), task.published("hub")) == (False, True)
