"""Shapes of rows that data sets of the field have, recognised by their columns and read as messages."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lorabench.errors import UserError, nearest
from lorabench.tasks.own.values import BadValue, text_of

PROMPTS = ("prompt", "question", "query", "instruction", "problem", "input", "user", "source")
RESPONSES = ("response", "completion", "answer", "output", "solution", "target", "label", "assistant")
MESSAGES = ("messages", "conversations", "conversation")
ROLES = {
    "system": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "model": "assistant",
    "bot": "assistant",
}
"""What OpenAI's and ShareGPT's files, and other ones made of them, call who speaks."""

Message = dict[str, str]
"""``{"role": system | user | assistant, "content": text}``, as chat templates take it."""


@dataclass(frozen=True)
class Shape:
    """How rows of a data set are read.

    Attributes:
        name: as users know it.
        columns: those that are read, in words.
        read: a row's messages; of plain text one of the assistant.
        template: the one that such data get unless another one is given.
        read_whole: whether all of a row is learned, so that it may be cut anywhere.
        learned: the column of the response; empty where it stands in another one.
    """

    name: str
    columns: str
    read: Callable[[Mapping[str, Any]], list[Message]]
    template: str
    read_whole: bool = False
    learned: str = ""


def recognise(columns: Sequence[str], stated: Mapping[str, str], what: str, templated: bool = False) -> Shape:
    """The shape of rows with these columns.

    Args:
        columns: that the first row has.
        stated: ``task.columns``.
        what: the data set, for errors.
        templated: whether a template says itself which columns the prompt is made of.

    Raises:
        UserError: none of them, more than one, or a column that is not there.
    """
    for key, column in stated.items():
        if column not in columns:
            raise UserError(f"task.columns.{key}={column}: {what} has no such column; {nearest(column, columns)}")
    if "response" in stated and ("prompt" in stated or templated):
        return _pairs(stated.get("prompt"), stated["response"])
    if talk := next((name for name in MESSAGES if name in columns), None):
        return Shape("conversations", talk, lambda row: _conversation(row, talk), "chat")
    if not stated.keys() & {"prompt", "response"} and {"instruction", "output"} <= set(columns):
        names = "instruction, input and output" if "input" in columns else "instruction and output"
        return Shape("Alpaca", names, _alpaca, "alpaca", learned="output")
    return _by_names(columns, stated, what, templated)


def _by_names(columns: Sequence[str], stated: Mapping[str, str], what: str, templated: bool) -> Shape:
    """Prompt and response by what their columns are called, or plain text."""
    taken = {column for key, column in stated.items() if key not in ("prompt", "response")}
    free = {name.lower(): name for name in columns if name not in taken}  # a spreadsheet may call it Question
    prompts = [stated["prompt"]] if "prompt" in stated else [free[name] for name in PROMPTS if name in free]
    responses = [free[name] for name in RESPONSES if name in free and free[name] not in prompts]
    if "response" in stated:
        responses = [stated["response"]]
        prompts = [name for name in prompts if name not in responses]
    if templated and len(responses) == 1 and len(prompts) != 1:
        return _pairs(None, responses[0])
    if len(prompts) == len(responses) == 1:
        return _pairs(prompts[0], responses[0])
    if not responses and "text" in columns and not stated.keys() & {"prompt", "response"}:
        return Shape("plain text", "text", _text, "none", read_whole=True, learned="text")
    several = " and ".join(" or ".join(names) for names in (prompts, responses) if len(names) > 1)
    alone = f"no known shape has just {'this' if len(columns) == 1 else 'these'}"
    reason = f"it could be read by {several}" if several and prompts and responses else alone
    raise UserError(
        f"{what} has the column{'s' * (len(columns) != 1)} {', '.join(columns)}, and {reason}; say which hold what: "
        "task.columns.prompt=COLUMN task.columns.response=COLUMN"
    )


def _pairs(prompt: str | None, response: str) -> Shape:
    def read(row: Mapping[str, Any]) -> list[Message]:
        given = [{"role": "user", "content": text_of(row, prompt)}] if prompt else []
        return [*given, {"role": "assistant", "content": text_of(row, response)}]

    columns = " and ".join(filter(None, (prompt, response)))
    return Shape("prompt and response", columns, read, "alpaca", learned=response)


def _alpaca(row: Mapping[str, Any]) -> list[Message]:
    """The input follows the instruction after a blank line, as in ``tasks.alpaca.instruction_of``; many rows have none."""
    parts = [text_of(row, "instruction"), str(row["input"]).strip() if row.get("input") is not None else ""]
    question = "\n\n".join(filter(None, parts))
    return [{"role": "user", "content": question}, {"role": "assistant", "content": text_of(row, "output")}]


def _text(row: Mapping[str, Any]) -> list[Message]:
    return [{"role": "assistant", "content": text_of(row, "text")}]


def _conversation(row: Mapping[str, Any], column: str) -> list[Message]:
    """Messages of OpenAI's form (role, content) or ShareGPT's (from, value), up to the last one of the assistant."""
    turns = row.get(column)
    if not isinstance(turns, list | tuple) or not turns or not all(isinstance(turn, Mapping) for turn in turns):
        raise BadValue(f"has no messages in {column}: wanted a list of objects with role and content, or from and value")
    messages = []
    for i, turn in enumerate(turns):
        keys = ("role", "content") if "role" in turn else ("from", "value")
        if not set(keys) <= turn.keys():
            raise BadValue(
                f"has the keys {', '.join(map(str, turn))} in {column}[{i}]; wanted role and content, or from and value"
            )
        role = ROLES.get(str(turn[keys[0]]).lower())
        if role is None:
            raise BadValue(f"has {keys[0]}={turn[keys[0]]!r} in {column}[{i}]; known are {', '.join(ROLES)}")
        messages.append({"role": role, "content": _content(turn, keys[1], f"{column}[{i}]")})
    while messages and messages[-1]["role"] != "assistant":
        messages.pop()
    if not messages:
        raise BadValue(f"has no message of an assistant in {column}, so nothing to learn")
    if messages[0]["role"] == "assistant":
        raise BadValue(f"begins with the assistant in {column}: no prompt asks for that message")
    return messages


def _content(turn: Mapping[str, Any], key: str, where: str) -> str:
    """A message's text; of a list of parts, as OpenAI's files have them, those of its texts one after the other."""
    parts = turn[key]
    if not isinstance(parts, list | tuple):
        return text_of(turn, key)
    for part in parts:
        if not isinstance(part, Mapping) or part.get("type") != "text" or not isinstance(part.get("text"), str):
            kind = part.get("type") if isinstance(part, Mapping) else part
            raise BadValue(
                f"has a part of type {kind!r} in {where}.{key}"[:120] + "; wanted texts alone, {type: text, text: …}"
            )
    return text_of({key: "".join(part["text"] for part in parts)}, key)
