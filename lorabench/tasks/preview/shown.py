"""Training examples as the model sees them: text of its tokens, what is given told from what is learned."""

import textwrap
from collections.abc import Iterator, Sequence
from itertools import pairwise
from os.path import commonprefix

from transformers import PreTrainedTokenizerBase

from lorabench.training.data import Encoded

HEAD, TAIL = 900, 300
"""Characters that are shown of a part that is longer than both."""

DIM, PLAIN = "\x1b[2m", "\x1b[0m"
MARGIN = 12


def parts(tokenizer: PreTrainedTokenizerBase, example: Encoded) -> list[tuple[bool, str]]:
    """The text of an example in parts, each with whether it is learned; special tokens are written as they are called."""
    given = [(0, example.prompt_length), *example.given]
    places = sorted({0, len(example.ids), *(place for span in given for place in span)})
    texts = [
        str(tokenizer.decode(list(example.ids[:place]), skip_special_tokens=False, clean_up_tokenization_spaces=False))
        for place in places
    ]
    # By what each token adds: decoded alone, a part would lose its first space, and a character that is cut in two.
    added = [after[len(commonprefix([before, after])) :] for before, after in pairwise(texts)]  # noqa: RUF071
    learned = [not any(start <= place < stop for start, stop in given) for place in places[:-1]]
    return [(is_learned, text) for is_learned, text in zip(learned, added, strict=True) if text]


def lines(pieces: Sequence[tuple[bool, str]], width: int | None, colour: bool) -> Iterator[str]:
    """An example for the terminal, or for a file.

    Args:
        pieces: see ``parts``.
        width: columns at which lines are broken; None for no limit.
        colour: whether what is given is greyed.
    """
    for learned, text in pieces:
        label = "learned" if learned else "given"
        for number, line in enumerate(_shortened(visible(text)).split("\n")):
            room = None if width is None else max(20, width - MARGIN)
            broken = [line] if room is None or len(line) <= room else _broken(line, room)
            for place, piece in enumerate(broken):
                head = label if number == place == 0 else ""
                row = f"  {head:<7} │ {piece}".rstrip()
                yield f"{DIM}{row}{PLAIN}" if colour and not learned else row


def _broken(line: str, room: int) -> list[str]:
    return textwrap.wrap(line, room, drop_whitespace=False, replace_whitespace=False, expand_tabs=False)


def visible(text: str) -> str:
    r"""The text with what no eye sees, and what a terminal would obey, written out.

    >>> print(visible("a b\x1b[2J\u200b"))
    a b\x1b[2J\u200b
    """
    return "".join(c if c.isprintable() or c in "\n\t" else repr(c)[1:-1] for c in text)


def on_one_line(text: str) -> str:
    r"""The text with its line ends written out, too.

    >>> print(on_one_line("{question}\nA:"))
    {question}\nA:
    """
    return visible(text).replace("\n", "\\n")


def _shortened(text: str) -> str:
    left_out = len(text) - HEAD - TAIL
    return text if left_out <= 0 else f"{text[:HEAD]}\n… {left_out:,} characters …\n{text[-TAIL:]}"
