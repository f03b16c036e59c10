"""A tokenizer's own chat template: prompts as generation gets them, and which parts of a conversation are learned.

What is learned of a conversation are its assistant's messages, each with the text that closes it (``<|im_end|>``, say): by the
template's own mark ``{% generation %}`` where it has one, else what it writes behind its generation prompt.
"""

import re
from collections.abc import Sequence
from typing import Any

from transformers import PreTrainedTokenizerBase
from transformers.utils.chat_template_utils import render_jinja_template

from lorabench.errors import UserError
from lorabench.tasks.own.shapes import Message
from lorabench.tasks.own.values import BadValue

MARKED = re.compile(r"\{%-?\s*generation\s*-?%\}")
PROBE = "lorabench"
HOLE = "\ue000lorabench\ue000"
"""Stands in an answer's place, to see what a template writes behind it: no text has these private characters."""


def check_template(tokenizer: PreTrainedTokenizerBase) -> None:
    """Check that prompts can be rendered of the template.

    Raises:
        UserError: there is none, it cannot be used, or it has no generation prompt: the model would not know whose turn it is.
    """
    if not tokenizer.chat_template:
        raise UserError(
            f"{tokenizer.name_or_path} has no chat template; give one with task.chat_template=FILE (Jinja), or use "
            "task.template=alpaca"
        )
    ask = [{"role": "user", "content": PROBE}]
    try:
        silent = prompt(tokenizer, ask) == _rendered(tokenizer, ask, generation_prompt=False)
    except BadValue as error:
        raise UserError(f"a chat of one question {error}; give another one with task.chat_template=FILE (Jinja)") from error
    if silent:
        raise UserError(
            f"the chat template of {tokenizer.name_or_path} writes nothing for add_generation_prompt, so that no prompt could "
            "ask for an answer; give another one with task.chat_template=FILE (Jinja)"
        )


def prompt(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message]) -> str:
    """The text that asks for the assistant's next message.

    Raises:
        BadValue: the template refuses these messages (a system message, say, or two of one role in turn).
    """
    return _rendered(tokenizer, messages, generation_prompt=True)


def parts(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message]) -> tuple[str, ...]:
    """The conversation's text in parts, given and learned ones in turn; the last message is the assistant's.

    Raises:
        BadValue: the template refuses these messages, or does not write them so that what is learned can be told.
    """
    template = tokenizer.get_chat_template()
    return (_by_mark if MARKED.search(template) else _by_prompt)(tokenizer, messages)


def _by_mark(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message]) -> tuple[str, ...]:
    special: dict[str, Any] = tokenizer.special_tokens_map
    rendered: Any = render_jinja_template(
        conversations=[list(messages)],
        chat_template=tokenizer.get_chat_template(),
        return_assistant_tokens_mask=True,
        **special,
    )
    [[text], [spans]] = rendered
    pieces, position = [], 0
    for start, stop in spans:
        pieces += [text[position:start], text[start:stop]]
        position = stop
    head = sum(message["role"] == "assistant" for message in messages)
    before = prompt(tokenizer, messages[:-1])
    if len(spans) != head or not text.startswith(before) or spans[-1][0] != len(before):
        raise BadValue(
            f"has {head} messages of the assistant, of which the chat template of {tokenizer.name_or_path} marks "
            f"{len(spans)}, not from where the prompt ends, or writes other prompts for them; give another one "
            "with task.chat_template=FILE (Jinja)"
        )
    return tuple(pieces)


def _by_prompt(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message]) -> tuple[str, ...]:
    text, closing = _rendered(tokenizer, messages, generation_prompt=False), _closing(tokenizer)
    pieces: list[str] = []
    position = 0
    for i, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        head, content = prompt(tokenizer, messages[:i]), message["content"].strip()
        holed = [*messages[:i], message | {"content": HOLE}, *messages[i + 1 :]]
        _, hole, behind = _rendered(tokenizer, holed, generation_prompt=False).rpartition(HOLE)
        stop = len(text[: len(text) - len(behind)].rstrip())
        whole = hole and text.startswith(head) and text.endswith(behind) and position <= len(head) <= stop - len(content)
        if not whole or not text[:stop].endswith(content):
            raise BadValue(
                f"has messages that the chat template of {tokenizer.name_or_path} writes otherwise in a conversation than in a "
                "prompt; give another one with task.chat_template=FILE (Jinja)"
            )
        rest = text[stop:]
        if rest.lstrip().startswith(closing):
            stop += len(rest) - len(rest.lstrip()) + len(closing)
        pieces += [text[position : len(head)], text[len(head) : stop]]
        position = stop
    return tuple(pieces)


def _closing(tokenizer: PreTrainedTokenizerBase) -> str:
    """What stands behind a message of the assistant, without the spaces around it; empty where nothing does."""
    exchange = [{"role": "user", "content": "?"}, {"role": "assistant", "content": PROBE}]
    return _rendered(tokenizer, exchange, generation_prompt=False).rpartition(PROBE)[2].strip()


def _rendered(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], generation_prompt: bool) -> str:
    try:
        text = tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=generation_prompt)
    except Exception as error:  # jinja's, and what a template raises itself
        roles = ", ".join(message["role"] for message in messages)
        raise BadValue(
            f"has messages of {roles}, which the chat template of {tokenizer.name_or_path} refuses "
            f"({' '.join(str(error).split())[:120]})"
        ) from error
    return str(text)
