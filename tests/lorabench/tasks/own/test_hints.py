"""What data of one's own are told of: the file's kind, columns that are passed over, and what no row can be."""

import pytest

from lorabench.cells.parts import build
from lorabench.errors import UserError
from lorabench.tasks.base import Task
from lorabench.tasks.sources.tables import read_separated


@pytest.fixture
def custom(tmp_path, cell):
    """A task of a file's content, with settings."""

    def make(content, name="mine.jsonl", **fields):
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return build(cell("task=custom", f"task.train={tmp_path / name}").config["task"] | fields, "task", Task)

    return make


def lines(row, n=30):
    """JSON lines, with a number in the place of #."""
    return "".join(row.replace("#", str(i)) + "\n" for i in range(n))


@pytest.mark.parametrize("magic", [b"PK\x03\x04rest", b"\xd0\xcf\x11\xe0rest"])
def test_a_spreadsheet_is_told_from_json(custom, magic):
    with pytest.raises(UserError, match=r"mine.xlsx is a spreadsheet or an archive; save its table as CSV$"):
        custom(magic, "mine.xlsx").train_examples()


def test_a_folder_is_no_file(tmp_path, cell):
    with pytest.raises(UserError, match=r"^task.train=.* is a folder; give the file in it \(.json, "):
        build(cell("task=custom", f"task.train={tmp_path}").config["task"], "task", Task).train_examples()


def test_excels_first_line_names_the_separator():
    assert [row["a"] for row in read_separated("sep=|\r\nq|a\r\n1, 2|3\r\n", "mine.csv")] == ["3"]
    with pytest.raises(UserError, match="has a line of column names and no row"):
        read_separated("sep=;\na;b\n", "mine.csv")


def test_columns_that_change_what_is_asked_are_named(custom, capsys):
    row = '{"instruction": "Add #", "input": "", "output": "x#", "system": "You are kind.", "history": []}'
    custom(lines(row)).train_examples()
    assert "not read: system, history; a task.template with {system}" in capsys.readouterr().err
    custom(lines(row), template="{system} {history} {instruction}", columns={"response": "output"}).train_examples()
    assert "not read" not in capsys.readouterr().err


def test_a_list_of_answers_is_told(custom, capsys):
    row = '{"question": "Who is #?", "answer": ["a#", "b#"]}'
    custom(lines(row)).train_examples()
    assert "answer holds lists, which are learned as they are written; task.columns.answers=answer" in capsys.readouterr().err
    custom(lines(row), columns={"answers": "answer"}).train_examples()
    assert "holds lists" not in capsys.readouterr().err


def test_a_chat_template_of_ones_own_is_named_where_it_is_wrong(custom, tmp_path):
    (tmp_path / "bad.jinja").write_text("{% for m in messages %}{{ m.content }}")
    with pytest.raises(UserError, match=r"chat template of .*bad.jinja refuses"):
        custom(
            lines('{"question": "Who is #?", "answer": "a#"}'), template="chat", chat_template=str(tmp_path / "bad.jinja")
        ).train_examples()


def test_a_scorer_that_fits_no_row_is_the_fault(custom):
    with pytest.raises(UserError, match=r"the scorer finds no training example's own answer right, such as .*; take another"):
        custom(lines('{"question": "Who is #?", "answer": "word#"}'), scorer="json").train_examples()


def test_a_fault_of_every_row_is_not_to_be_skipped(custom):
    with pytest.raises(UserError, match=r"has no column nope, .*; so do all 30 rows$"):
        custom(lines('{"question": "Who is #?", "answer": "a#"}'), template="Q: {nope}").train_examples()


def test_two_values_of_one_text_are_refused(custom):
    with pytest.raises(UserError, match=r"task.labels=.* has yes for two values, which no answer could tell apart"):
        custom(lines('{"question": "Who is #?", "answer": "0"}'), labels=["yes", "yes"])


def test_columns_may_be_capitalised(custom):
    table = "Question,Answer\n" + lines("Who is #?,a#")
    assert custom(table, "mine.csv").choices["shape"] == "prompt and response (Question and Answer)"


def test_a_few_problems_say_what_is_one(custom):
    with pytest.raises(UserError, match=r"has 1 problem in 30 rows \(those that ask the same"):
        custom(lines('{"question": "Who?", "answer": "a#"}')).train_examples()
