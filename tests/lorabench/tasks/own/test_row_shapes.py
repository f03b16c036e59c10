"""Shapes of rows: what is recognised by columns, what is refused, and what messages come out."""

import pytest

from lorabench.errors import UserError
from lorabench.tasks.own.shapes import recognise
from lorabench.tasks.own.values import BadValue

USER, ASSISTANT = {"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}


def read(row, stated=None, templated=False):
    shape = recognise(list(row), stated or {}, "my.csv", templated)
    return shape.name, shape.template, shape.read(row)


@pytest.mark.parametrize(
    ("row", "name"),
    [
        ({"prompt": "Q", "completion": "A", "id": 3}, "prompt and response"),
        ({"question": "Q", "answer": "A"}, "prompt and response"),
        ({"query": "Q", "response": "A", "original_question": "Q"}, "prompt and response"),
        ({"instruction": "Q", "output": "A"}, "Alpaca"),
        ({"instruction": "Q", "input": "", "output": "A", "text": "all"}, "Alpaca"),
        ({"messages": [USER, ASSISTANT]}, "conversations"),
        ({"conversations": [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}], "id": "x"}, "conversations"),
    ],
)
def test_known_columns_are_read_as_question_and_answer(row, name):
    assert read(row)[::2] == (name, [USER, ASSISTANT])


def test_content_in_parts_is_their_texts_one_after_the_other():
    parts = [{"type": "text", "text": "hi "}, {"type": "text", "text": "there"}]
    [question, answer] = read({"messages": [{"role": "user", "content": parts}, ASSISTANT]})[2]
    assert (question["content"], answer["content"]) == ("hi there", "A")


def test_an_input_stands_behind_its_instruction():
    [question, answer] = read({"instruction": "Add.", "input": " 1, 2 ", "output": "3"})[2]
    assert (question["content"], answer["content"]) == ("Add.\n\n1, 2", "3")


def test_plain_text_is_learned_whole():
    assert read({"text": "All of it."}) == ("plain text", "none", [{"role": "assistant", "content": "All of it."}])


@pytest.mark.parametrize(
    ("stated", "columns"), [({"prompt": "b", "response": "c"}, "b and c"), ({"response": "c"}, "question and c")]
)
def test_columns_may_be_named(stated, columns):
    row = {"question": "Q", "b": "Q", "c": "A", "answer": "no"}
    shape = recognise(list(row), stated, "my.csv")
    assert (shape.columns, shape.read(row)) == (columns, [USER, ASSISTANT])


def test_a_template_says_itself_what_is_asked():
    assert read({"premise": "P", "hypothesis": "H", "label": 1}, templated=True)[2] == [{"role": "assistant", "content": "1"}]
    assert read({"a": "P", "b": 1}, {"response": "b"}, templated=True)[2] == [{"role": "assistant", "content": "1"}]


def test_system_messages_stay_and_later_questions_are_dropped():
    system = {"role": "system", "content": "S"}
    assert read({"messages": [system, USER, ASSISTANT, USER]})[2] == [system, USER, ASSISTANT]


@pytest.mark.parametrize(
    ("row", "stated", "words"),
    [
        ({"a": "1", "b": "2"}, {}, "my.csv has the columns a, b, and no known shape has just these; say which hold what"),
        ({"prompt": "1", "question": "2", "answer": "3"}, {}, "it could be read by prompt or question"),
        ({"question": "2", "answer": "3", "output": "4"}, {}, "it could be read by answer or output"),
        (
            {"question": "2", "answer": "3"},
            {"prompt": "qestion"},
            "task.columns.prompt=qestion: my.csv has no such column; did you mean 'question'",
        ),
        ({"question": "2", "answer": "3"}, {"group": "id"}, "task.columns.group=id: my.csv has no such column"),
    ],
)
def test_what_is_not_told_by_columns_is_one_line(row, stated, words):
    with pytest.raises(UserError, match=words):
        recognise(list(row), stated, "my.csv")


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"question": "Q", "answer": None}, "has answer=null"),
        ({"question": "  ", "answer": "A"}, "has a blank question"),
        ({"question": "Q\ud800", "answer": "A"}, "has half a surrogate pair"),
        ({"messages": []}, "has no messages in messages"),
        ({"messages": "hello"}, "has no messages in messages"),
        ({"messages": [{"role": "user"}]}, r"has the keys role in messages\[0\]; wanted role and content"),
        ({"messages": [{"role": "tool", "content": "x"}]}, r"has role='tool' in messages\[0\]; known are system"),
        ({"messages": [USER]}, "has no message of an assistant in messages"),
        ({"messages": [ASSISTANT, USER, ASSISTANT]}, "begins with the assistant"),
        ({"messages": [USER, {"role": "assistant", "content": None}]}, "has content=null"),
        ({"messages": [{"role": "user", "content": []}, ASSISTANT]}, "has a blank content"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}, ASSISTANT]},
            r"has a part of type 'image_url' in messages\[0\].content; wanted texts alone",
        ),
        ({"messages": [USER, {"role": "assistant", "content": ["A"]}]}, r"has a part of type 'A' in messages\[1\].content"),
    ],
)
def test_rows_that_cannot_be_read_say_why(row, words):
    with pytest.raises(BadValue, match=words):
        read(row)
