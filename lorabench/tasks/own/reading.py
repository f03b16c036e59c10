"""Rows of the user's own as examples."""

import contextlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from lorabench.errors import UserError, nearest
from lorabench.tasks.example import Example, words
from lorabench.tasks.own.answers import answers_of, first_of
from lorabench.tasks.own.shapes import Shape
from lorabench.tasks.own.templates import Template, check_unlearned, column_of, columns_in, fill
from lorabench.tasks.own.values import BadValue, text_of
from lorabench.tasks.sources.base import Row
from lorabench.terminal.bars import note

GREETED = 10
"""Conversations that may share an opening which is no greeting (ours), where there are fewer than a hundred."""

SKIP = "mend it, or leave such rows out with task.skip_bad_rows=true"


@dataclass(frozen=True)
class Conversation(Example):
    """An example of any number of turns.

    Attributes:
        parts: its text, given and learned parts in turn; the last one is the target as it is trained on.
        right: all right answers, its own the first.
        tests: of ``task.columns.tests``.
        place: where a user finds its row.
        opening: the first question with its answer, in normal form: conversations that share it are one problem.
    """

    parts: tuple[str, ...] = field(default=(), compare=False)
    right: tuple[str, ...] = field(default=(), compare=False)
    tests: str = field(default="", compare=False)
    place: str = field(default="", compare=False)
    opening: str = field(default="", compare=False)

    @property
    def wording(self) -> str:
        """The prompt, or a plain text itself, whatever its spaces and line ends."""
        return words(self.question) or words(self.answer)

    @property
    def problem(self) -> str:
        """The group, else the wording."""
        return self.group or self.wording

    @property
    def links(self) -> tuple[str, ...]:
        """The wording and, in a conversation, its opening."""
        return (self.wording, f"\0{self.opening}") if self.opening else (self.wording,)


def without_greetings(examples: Sequence[Conversation]) -> list[Conversation]:
    """The examples, where an opening that more than a tenth of them share is none: so many begin with a greeting."""
    shared = Counter(example.opening for example in examples)
    most = max(GREETED, len(examples) / 10)
    return [replace(example, opening="") if shared[example.opening] > most else example for example in examples]


def labels_of(labels: Any) -> dict[str, str]:
    """The texts of ``task.labels`` by the value as text; empty without.

    >>> labels_of(["no", "yes"])
    {'0': 'no', '1': 'yes'}

    Raises:
        UserError: it is neither a list nor keys with values, or holds something else than texts.
    """
    if labels is None:
        return {}
    pairs = labels.items() if isinstance(labels, dict) else enumerate(labels) if isinstance(labels, list | tuple) else ()
    texts = {str(key): str(value) for key, value in pairs if not isinstance(value, dict | list)}
    if twice := [text for text, count in Counter(texts.values()).items() if count > 1]:
        raise UserError(f"task.labels={labels} has {twice[0]} for two values, which no answer could tell apart")
    if not texts or any(not text.strip() for text in texts.values()):
        raise UserError(f"task.labels={labels} must be a list of texts, or values with their texts, such as {{0: no, 1: yes}}")
    return texts


def stated_columns(columns: Mapping[str, str | None]) -> dict[str, str]:
    """``task.columns`` without those left open; of answers alone the first is the response.

    Raises:
        UserError: one is a text with braces that cannot be read.
    """
    stated = {key: column for key, column in columns.items() if column}
    for key, column in stated.items():
        if "{" in column and not columns_in(column, f"task.columns.{key}"):
            raise UserError(
                f"task.columns.{key}={column} has no column in its braces; write {{NAME}}, or a column's name alone"
            )
    if "answers" in stated:
        stated.setdefault("response", first_of(stated["answers"]))
    return stated


def texts_of(stated: Mapping[str, str]) -> dict[str, str]:
    """The texts with braces that ``task.columns`` has, and the key that gave each."""
    texts = {column: f"task.columns.{key}" for key, column in stated.items() if "{" in column}
    if "answers" in stated and (first := first_of(stated["answers"])) == stated["response"]:
        texts[first] = "task.columns.answers"
    return texts


def with_texts(columns: Sequence[str], stated: Mapping[str, str], what: str) -> list[str]:
    """The columns of a data set and, as columns of their own, the texts of others that ``task.columns`` makes.

    Raises:
        UserError: such a text names a column that is not there.
    """
    texts = texts_of(stated)
    for text, key in texts.items():
        for name in map(column_of, columns_in(text, key)):
            if name not in columns:
                raise UserError(f"{key}={text}: {what} has no column {name}; {nearest(name, columns)}")
    return [*columns, *texts]


@dataclass(frozen=True)
class Reader:
    """Turns rows into examples.

    Attributes:
        task: name, for errors.
        shape: of the rows.
        template: that writes them.
        text: the user's template with columns in braces; empty for another one.
        columns: see ``stated_columns``.
        labels: texts by value.
        skip: leave rows out that cannot be read.
    """

    task: str
    shape: Shape
    template: Template
    text: str
    columns: Mapping[str, str]
    labels: Mapping[str, str]
    skip: bool

    def __post_init__(self) -> None:
        learned = [column for column in (self.shape.learned, self.columns.get("answers")) if column]
        prompted = {"task.template": self.text, "task.columns.prompt": self.columns.get("prompt")}
        for key, text in prompted.items():
            for column in learned if text else ():
                check_unlearned(str(text), column, key)

    def examples(self, rows: Sequence[Row], name: str) -> list[Conversation]:
        """An example for each row, ``name/0`` and so on.

        Raises:
            UserError: a row cannot be read, or none can.
        """
        made, bad = [], []
        for i, row in enumerate(rows):
            try:
                made.append(self._example(row, f"{name}/{i}"))
            except BadValue as error:
                bad.append(f"task={self.task}: row {name}/{i} ({row.place}) {error}")
                if not self.skip and (made or any(self._can_read(other) for other in rows[i + 1 :])):
                    raise UserError(f"{bad[0]}; {SKIP}") from error
        if not made:
            raise UserError(f"{bad[0]}; so do all {len(bad)} rows" if bad else f"task={self.task}: {name} has no row")
        if bad:
            note(f"{bad[0]}; {len(bad)} of {len(rows)} rows of {name} are left out (task.skip_bad_rows=true)")
        return without_greetings(made)

    def _can_read(self, row: Row) -> bool:
        try:
            self._example(row, "")
        except BadValue:
            return False
        return True

    def _example(self, row: Row, name: str) -> Conversation:
        texts = {text: fill(text, row, None, key) for text, key in texts_of(self.columns).items()}
        row = row.part({**row, **texts})
        messages = self.shape.read(row)
        answers = answers_of(row, self.columns["answers"]) if "answers" in self.columns else []
        answer, *others = [self._label(text) if self.labels else text for text in (messages[-1]["content"], *answers)]
        messages[-1] = messages[-1] | {"content": answer}
        if self.text:
            messages = [
                {"role": "user", "content": fill(self.text, row, messages[0]["content"] if len(messages) == 2 else None)},
                {"role": "assistant", "content": answer},
            ]
        question = "\n\n".join(message["content"] for message in messages[:-1])
        group = text_of(row, column) if (column := self.columns.get("group")) else ""
        tests = self._tests(row)
        parts = self.template.parts(messages)
        right = tuple(dict.fromkeys((answer, *others)))
        first = next(i for i, message in enumerate(messages) if message["role"] == "assistant")
        opening = words("\n\n".join(message["content"] for message in messages[: first + 1])) if first else ""
        return Conversation(name, question, answer, answer, "", group, parts, right, tests, row.place, opening)

    def _label(self, value: str) -> str:
        if value not in self.labels:
            known = ", ".join(self.labels)
            raise BadValue(f"has the response {value!r}, for which task.labels has no text; it has {known}")
        return self.labels[value]

    def _tests(self, row: Row) -> str:
        """Tests as one text of code, one of a list a line."""
        column = self.columns.get("tests")
        if not column:
            return ""
        value = row.get(column)
        if isinstance(value, str) and value.lstrip().startswith("["):
            with contextlib.suppress(ValueError):
                value = json.loads(value)
        if not isinstance(value, list | tuple):
            return text_of(row, column)
        if not value:
            raise BadValue(f"has no test in {column}, whose list is empty")
        return "\n".join(map(str, value))
