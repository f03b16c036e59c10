"""Templates: the text of messages, and one line for a template that is none."""

import pytest

from lorabench.errors import UserError
from lorabench.tasks.alpaca import instruction_prompt
from lorabench.tasks.chat import SECOND_TURN
from lorabench.tasks.own.templates import Alpaca, Plain, check_text, fill
from lorabench.tasks.own.values import BadValue


def messages(*texts, system=None):
    roles = ["user", "assistant"] * len(texts)
    given = [{"role": "system", "content": system}] if system else []
    return given + [{"role": role, "content": text} for role, text in zip(roles, texts, strict=False)]


@pytest.mark.parametrize(
    ("prompt", "answer", "parts"),
    [("Q:", "A", ("Q:", " A")), ("Q: ", "A", ("Q: ", "A")), ("Q:", "\nA", ("Q:", "\nA")), ("Q\n", "A", ("Q\n", "A"))],
)
def test_plain_texts_have_one_space_between_them_at_least(prompt, answer, parts):
    assert Plain().parts(messages(prompt, answer)) == parts


def test_plain_text_alone_has_an_empty_prompt():
    assert Plain().parts([{"role": "assistant", "content": "All."}]) == ("", "All.")


def test_plain_conversations_are_refused():
    with pytest.raises(BadValue, match=r"has 4 messages, which task.template=none cannot tell apart"):
        Plain().parts(messages("a", "b", "c", "d"))


def test_alpaca_is_the_prompt_and_target_of_the_papers_tasks():
    assert Alpaca().parts(messages("Add.", "3")) == (instruction_prompt("Add."), "3\n")
    assert Alpaca().parts(messages("Add.", "3", system="Be brief.")) == (instruction_prompt("Be brief.\n\nAdd."), "3\n")


def test_alpaca_goes_on_as_the_second_turn_of_chat():
    parts = Alpaca().parts(messages("Add.", "3", "Sure?", "Yes."))
    first = instruction_prompt("Add.") + "3"
    assert "".join(parts[:-1]) == SECOND_TURN.format(conversation=first, instruction="Sure?")
    assert parts[1::2] == ("3", "Yes.\n")


def test_alpaca_refuses_two_of_one_role_in_turn():
    with pytest.raises(BadValue, match="do not alternate"):
        Alpaca().parts([*messages("a"), *messages("b", "c")])


@pytest.mark.parametrize(
    ("template", "row", "text"),
    [
        ("Q: {question}\nA:", {"question": "Why?"}, "Q: Why?\nA:"),
        ("{prompt} {{x}}", {"question": "Why?"}, "P {x}"),
        ("{prompt}", {"prompt": "own"}, "own"),
        ("{choices[0]} or {choices[1]}?", {"choices": ["a", "b"]}, "a or b?"),
        ("{answers[text][0]}", {"answers": {"text": ["a"]}}, "a"),
        ("{n}", {"n": 3}, "3"),
    ],
)
def test_columns_and_their_items_stand_in_the_braces(template, row, text):
    check_text(template)
    assert fill(template, row, "P") == text


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("alpcaca", "is neither chat, alpaca nor none, nor a text with a column in braces"),
        ("Q: {question", "write a brace that is meant as one twice"),
        ("{}", "is no column; write its name alone"),
        ("{question.__class__}", "is no column; write its name alone"),
        ("{question!r}", "is no column; write its name alone"),
        ("{question:>10}", "is no column; write its name alone"),
    ],
)
def test_other_templates_are_one_line(template, words):
    with pytest.raises(UserError, match=words):
        check_text(template)


@pytest.mark.parametrize(
    ("template", "row", "words"),
    [
        ("{qestion}", {"question": "Why?"}, "has no column qestion, which task.template names; did you mean 'question'"),
        ("{choices[2]}", {"choices": ["a", "b"]}, r"has no \{choices\[2\]\}"),
        ("{choices[x]}", {"choices": ["a", "b"]}, r"has no \{choices\[x\]\}"),
        ("{question}", {"question": ""}, "has a blank question"),
    ],
)
def test_rows_without_what_the_template_names_say_so(template, row, words):
    with pytest.raises(BadValue, match=words):
        fill(template, row, None)
