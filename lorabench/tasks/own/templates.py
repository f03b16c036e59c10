"""How messages become text: `none`, `alpaca`, `chat`, or a text of the user's with columns in braces."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from string import Formatter
from typing import Any

from transformers import PreTrainedTokenizerBase

from lorabench.errors import UserError, nearest
from lorabench.tasks.alpaca import instruction_prompt
from lorabench.tasks.own import chat
from lorabench.tasks.own.shapes import Message
from lorabench.tasks.own.values import BadValue, parsed, text_of

NEXT = "\n\n### Instruction:\n{instruction}\n\n### Response:"
"""What follows an answer in a conversation, as in ``tasks.chat``."""


class Template(ABC):
    """Text of a conversation whose last message is the assistant's.

    The same parts are trained on and, but for the last one, asked in evaluation.
    """

    @abstractmethod
    def parts(self, messages: Sequence[Message]) -> tuple[str, ...]:
        """Given and learned parts in turn.

        Raises:
            BadValue: it cannot be written so.
        """


class Plain(Template):
    """Prompt and answer as they are, with a space between where neither has one."""

    def parts(self, messages: Sequence[Message]) -> tuple[str, ...]:
        """Of one prompt and one answer, or of an answer alone."""
        if len(messages) > 2:
            raise BadValue(f"has {len(messages)} messages, which task.template=none cannot tell apart; use chat or alpaca")
        given, answer = messages[0]["content"] if len(messages) > 1 else "", messages[-1]["content"]
        bare = given and not given[-1].isspace() and not answer[0].isspace()
        return given, f" {answer}" if bare else answer


class Alpaca(Template):
    """Alpaca's prompt as in paper 1 (``tasks.alpaca``), and in a conversation again ``### Instruction:`` for each message."""

    def parts(self, messages: Sequence[Message]) -> tuple[str, ...]:
        """A system message stands before the first instruction."""
        system = [message["content"] for message in messages if message["role"] == "system"]
        turns = [message for message in messages if message["role"] != "system"]
        if [message["role"] for message in turns] != ["user", "assistant"] * (len(turns) // 2):
            raise BadValue("has messages that do not alternate between user and assistant, as task.template=alpaca needs")
        first, *others = (message["content"] for message in turns[::2])
        prompts = [instruction_prompt("\n\n".join([*system, first])), *(NEXT.format(instruction=text) for text in others)]
        answers = [message["content"] for message in turns[1::2]]
        answers[-1] += "\n"  # as tasks.alpaca writes a target
        return tuple(text for pair in zip(prompts, answers, strict=True) for text in pair)


@dataclass
class Chat(Template):
    """The tokenizer's chat template, see ``own.chat``."""

    tokenizer: PreTrainedTokenizerBase

    def parts(self, messages: Sequence[Message]) -> tuple[str, ...]:
        """Each message of the assistant is learned."""
        return chat.parts(self.tokenizer, messages)


def template_of(name: str, tokenizer: Callable[[], PreTrainedTokenizerBase]) -> Template:
    """The template that is called so.

    Args:
        name: ``none``, ``alpaca`` or ``chat``.
        tokenizer: gives that of the model, which ``chat`` alone needs.

    Raises:
        UserError: of ``chat`` the tokenizer has none that can be used.
    """
    if name == "none":
        return Plain()
    if name == "alpaca":
        return Alpaca()
    chat.check_template(tokenizer())
    return Chat(tokenizer())


def columns_in(text: str, key: str) -> list[str]:
    r"""The columns, and items of them, that a text has in braces.

    >>> columns_in("{passage}\nQuestion: {question}? {choices[0]} or {choices[1]}", "task.template")
    ['passage', 'question', 'choices[0]', 'choices[1]']

    Args:
        text: of the user's.
        key: where it is given, for errors.

    Raises:
        UserError: braces do not match, or hold something else.
    """
    try:
        fields = [(name, spec, conversion) for _, name, spec, conversion in Formatter().parse(text) if name is not None]
    except ValueError as error:
        raise UserError(f"{key}={text!r}: {error}; write a brace that is meant as one twice") from error
    for name, spec, conversion in fields:
        if not name or "." in name or spec or conversion:
            raise UserError(f"{key}: {{{name}}} is no column; write its name alone, or an item of it: {{choices[0]}}")
    return [name for name, _, _ in fields]


def check_text(template: str) -> None:
    """Check a template of the user's.

    Raises:
        UserError: it names no column, or holds something else than columns and their items in braces.
    """
    if not columns_in(template, "task.template"):
        raise UserError(
            f"task.template={template} is neither chat, alpaca nor none, nor a text with a column in braces, such as "
            "'Question: {prompt} Answer:'"
        )


def check_unlearned(text: str, learned: str, key: str) -> None:
    """Check that a text that is asked does not hold what is to be answered.

    Args:
        text: see ``columns_in``, or a column's name.
        learned: the column of the response or of the answers, or a text of such.
        key: where the text is given, for errors.

    Raises:
        UserError: it names that column, an item that is learned, or a list that holds it.
    """
    hidden = [_path(name) for name in (columns_in(learned, key) if "{" in learned else [learned])]
    for name in columns_in(text, key) if "{" in text else [text]:
        path = _path(name)
        if any(path == other[: len(path)] or other == path[: len(other)] for other in hidden):
            raise UserError(f"{key} names {{{name}}}, the column that is learned; end the template where the answer begins")


def _path(name: str) -> list[str]:
    """A column and its items: choices, text and 0 of ``choices[text][0]``."""
    return name.replace("]", "").split("[")


def fill(text: str, row: Mapping[str, Any], prompt: str | None, key: str = "task.template") -> str:
    """A text of the user's with the columns of a row.

    Args:
        text: see ``columns_in``.
        row: of the data.
        prompt: for ``{prompt}`` where no column has that name.
        key: where the text is given, for errors.

    Raises:
        BadValue: a column or an item of it is not there, or blank.
    """
    filled = []
    for literal, name, _, _ in Formatter().parse(text):
        filled.append(literal)
        if name is None:
            continue
        if name == "prompt" and name not in row and prompt is not None:
            filled.append(prompt)
        else:
            filled.append(text_of({name: _value(row, name, key)}, name))
    return "".join(filled)


def column_of(name: str) -> str:
    """The column of an item: ``choices`` of ``choices[text][0]``."""
    return name.partition("[")[0]


def _value(row: Mapping[str, Any], name: str, key: str) -> Any:
    """Of a column, or of an item in lists, objects, and texts that are JSON."""
    column, *items = _path(name)
    if column not in row:
        raise BadValue(f"has no column {column}, which {key} names; {nearest(column, [str(other) for other in row])}")
    value: Any = row
    for item in (column, *items):
        if isinstance(value, str):
            value = parsed(value)
        try:
            value = value[int(item)] if isinstance(value, list | tuple) else value[item]
        except (LookupError, ValueError, TypeError) as error:
            raise BadValue(f"has no {{{name}}}, which {key} names: {column} is {row[column]!r}"[:200]) from error
    return value
