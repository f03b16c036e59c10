"""Columns made of texts with braces, and several right answers: of rows of one's own, through files."""

import json

import pytest

from lorabench.cells.parts import build
from lorabench.errors import UserError
from lorabench.tasks.base import Task
from lorabench.tasks.own.values import BadValue, text_of

ROWS = [
    {"q": f"Who is number {i}?", "names": {"text": [f"Ada {i}", f"Countess {i}"], "start": [0, 4]}, "meta": {"page": i // 2}}
    for i in range(24)
]
FIELDS = {"template": "Q: {q}\nA:", "scorer": "exact", "test": 0.25, "validation_samples": 1}
ANSWERS = {"answers": "{names[text]}"}


@pytest.fixture
def custom(tmp_path, cell):
    """A function from rows and settings to their task."""

    def make(rows, **fields):
        file = tmp_path / "mine.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        node = cell("task=custom", f"task.train={file}").config["task"]
        return build(node | FIELDS | fields, "task", Task)

    return make


def more(rows=ROWS, **columns):
    """Enough rows to divide; the first has other columns."""
    rows = [*rows, *(row | {"q": f"Again: {row['q']}"} for row in rows)]
    return [rows[0] | columns, *rows[1:]]


def everything(task):
    return [*task.train_examples(), *task.validation_examples(), *task.test_examples()]


def test_the_first_answer_is_learned_and_each_is_right(custom):
    task = custom(more(), columns=ANSWERS)
    for example in everything(task):
        number = example.question.removesuffix("?\nA:").rpartition(" ")[2]
        assert task.target(example) == f" Ada {number}"
        for completion, score in ((f"Ada {number}", 1), (f"Countess {number}", 1), (f"ada {number}", 0), ("Ada", 0)):
            assert task.score(example, completion) == score
        assert task.proves_itself(example)
    [first, second, *_] = task.test_examples()
    both = task.score_all([first, second], [task.target(first), task.target(first)])
    assert [score["score"] for score in both] == [1, 0]


def test_a_response_of_its_own_is_right_beside_the_answers(custom):
    task = custom(more(), columns=ANSWERS | {"response": "{names[text][1]} alias"})
    example = task.test_examples()[0]
    number = example.question.removesuffix("?\nA:").rpartition(" ")[2]
    assert task.target(example) == f" Countess {number} alias"
    assert [task.score(example, text) for text in (f"Countess {number} alias", f"Ada {number}", f"Ada {number} alias")] == [
        1,
        1,
        0,
    ]


def test_the_nearest_answer_counts_where_scores_are_degrees(custom):
    rows = more([{"q": f"{i}?", "numbers": [float(i), i + 4.0]} for i in range(8)])
    task = custom(rows, columns={"answers": "numbers"}, scorer="distance=4", template="{q}")
    for example in everything(task):
        gold = float(example.answer)
        for distance, score in ((0, 1), (1, 0.75), (3, 0.75), (5, 0.75), (-1, 0.75), (10, 0)):
            assert task.score(example, f"{gold + distance}") == pytest.approx(score), distance


def test_every_answer_is_an_option_of_choice(custom):
    rows = more([{"q": f"{i}?", "right": ["yes", "yep"] if i % 2 else ["no", "nope"]} for i in range(8)])
    task = custom(rows, columns={"answers": "right"}, scorer="choice", template="{q}")
    example = next(example for example in everything(task) if example.answer == "yes")
    assert [task.score(example, text) for text in ("Yep.", "yes", "nope, yes", "no")] == [1, 1, 0, 0]


def test_labels_hold_for_each_answer(custom):
    rows = more([{"q": f"{i}?", "right": [i % 2, 2]} for i in range(8)])
    task = custom(rows, columns={"answers": "right"}, labels=["no", "yes", "perhaps"], template="{q}")
    assert {example.right for example in everything(task)} == {("no", "perhaps"), ("yes", "perhaps")}


@pytest.mark.parametrize("column", ["names", "{names[text]}"])
def test_lists_may_be_written_as_json(custom, column):
    rows = [row | {"names": json.dumps(row["names"]["text"] if column == "names" else row["names"])} for row in more()]
    task = custom(rows, columns={"answers": column})
    assert all(example.right[1].startswith("Countess") for example in everything(task))


def test_texts_make_prompt_response_and_group(custom):
    columns = {"prompt": "{q} ({names[start][1]})", "response": "{names[text][0]}!", "group": "{meta[page]}"}
    task = custom(more(), columns=columns, template=None)
    examples = everything(task)
    assert {example.group for example in examples} == {str(page) for page in range(12)}
    assert all("? (4)\n\n### Response:" in task.prompt(example) for example in examples)
    assert all(task.target(example).endswith("!\n") for example in examples)
    assert "{prompt}" not in custom(more(), columns=columns, template="Well: {prompt}").prompt(examples[0])


@pytest.mark.parametrize(
    ("columns", "line"),
    [
        (
            {"answers": "nmes"},
            r"^task\.columns\.answers=\{nmes\[0\]\}: .*mine\.jsonl has no column nmes; did you mean 'names'\?",
        ),
        ({"answers": "{nmes[text]}"}, r"^task\.columns\.answers=.* has no column nmes; did you mean 'names'\?"),
        (
            {"response": "{nmes[text][0]}"},
            r"^task\.columns\.response=\{nmes\[text\]\[0\]\}: .* has no column nmes; did you mean",
        ),
        (
            {"response": "q", "group": "{mta[page]}"},
            r"^task\.columns\.group=\{mta\[page\]\}: .* has no column mta; did you mean 'meta'",
        ),
        ({"answers": "{names[text]} {q}"}, r"^task\.columns\.answers=\{names\[text\]\} \{q\} must be one column, or one item"),
        ({"answers": "x{names}"}, r"^task\.columns\.answers=x\{names\} must be one column"),
        ({"response": "{names"}, r"^task\.columns\.response='\{names': .* write a brace that is meant as one twice"),
        ({"response": "{{names}}"}, r"^task\.columns\.response=\{\{names\}\} has no column in its braces"),
        (
            {"response": "{names.text}"},
            r"^task\.columns\.response: \{names\.text\} is no column; write its name alone, or an item",
        ),
        ({"anwsers": "names"}, r"^task\.columns\.anwsers is unknown; did you mean 'answers'\?"),
    ],
)
def test_columns_that_cannot_be_are_one_line(custom, columns, line):
    with pytest.raises(UserError, match=line):
        custom(more(), columns=columns).test_examples()


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        ({"text": []}, r"has no \{names\[text\]\[0\]\}, which task\.columns\.answers names: names is \{'text': \[\]\}"),
        ({"texts": ["a"]}, r"has no \{names\[text\]\}, which task\.columns\.answers names"),
        ({"text": "Ada"}, r"has no \{names\[text\]\[0\]\}, which task\.columns\.answers names"),
        ({"text": ["Ada", ""]}, r"has a blank \{names\[text\]\}\[1\]"),
        ({"text": ["Ada", None]}, r"has \{names\[text\]\}\[1\]=null"),
        (None, r"has no \{names\[text\]\}, which task\.columns\.answers names: names is None"),
    ],
)
def test_rows_without_answers_are_refused_or_left_out(custom, names, reason, capsys):
    with pytest.raises(
        UserError, match=rf"^task=mine: row train/0 \(.*mine\.jsonl, line 1\) {reason}.*; mend it, or leave such rows"
    ):
        custom(more(names=names), columns=ANSWERS).test_examples()
    task = custom(more(names=names), columns=ANSWERS, skip_bad_rows=True)
    left = {example.id for example in everything(task)}
    assert "train/0" not in left and "1 of 48 rows of train are left out" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("value", "reason"),
    [("Ada", "names='Ada', which is no list of answers"), ([], "has no answer in names"), (3, "names=3, which is no list")],
)
def test_what_is_no_list_is_not_several_answers(custom, value, reason):
    with pytest.raises(UserError, match=reason):
        custom(
            more([row | {"names": ["a"]} for row in ROWS], names=value),
            columns={"answers": "names", "response": "q"},
            template="{meta}",
        ).test_examples()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (3.799999952316284, "3.8"),
        (0.10000000149011612, "0.1"),
        (-2.4000000953674316, "-2.4"),
        (1000.0999755859375, "1000.1"),
        (3.0, "3.0"),
        (0.75, "0.75"),
        (1234567.875, "1234567.875"),  # 32 bits have it, and it was written so
        (123456792.0, "123456792.0"),
        (0.30000000000000004, "0.30000000000000004"),
        (1e300, "1e+300"),
        (5e-324, "5e-324"),
        (1.7976931348623157e308, "1.7976931348623157e+308"),
        (10, "10"),
    ],
)
def test_numbers_have_the_digits_that_they_were_written_with(value, text):
    assert text_of({"n": value}, "n") == text
    assert float(text) == pytest.approx(value, rel=1e-7)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_no_finite_number_is_no_value(value):
    with pytest.raises(BadValue, match=r"^has n=-?(nan|inf), which is no finite number$"):
        text_of({"n": value}, "n")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"template": "Q: {q} A: {names[text][0]}"}, r"task\.template names \{names\[text\]\[0\]\}"),
        ({"template": "Q: {q} A: {names}"}, r"task\.template names \{names\}"),
        ({"template": "alpaca", "columns": {"prompt": "{q} {names[text]}"}}, r"task\.columns\.prompt names \{names\[text\]\}"),
        ({"columns": {"response": "q", "answers": None}}, r"task\.template names \{q\}"),
        (
            {"template": "alpaca", "columns": {"response": "q", "prompt": "q", "answers": None}},
            r"task\.columns\.prompt names \{q\}",
        ),
    ],
)
def test_a_prompt_that_names_what_is_learned_is_refused(fields, words, custom):
    fields = FIELDS | fields | {"columns": ANSWERS | fields.get("columns", {})}
    with pytest.raises(UserError, match=f"^{words}, the column that is learned; end the template where the answer begins$"):
        custom(ROWS, **fields).train_examples()
