"""Words of a command line as Hydra's grammar of overrides reads them, and how to write what it cannot read."""

import os
import re
import shlex
from collections.abc import Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException

from lorabench.choices import PATH as PATH_CHOICE

PATH = re.compile(r"\+*(.*\.)?((\w+_)?(path|dir|folder|file)|journal|checkpoint|text)")
"""Keys whose values are paths."""

MODEL = re.compile(r"\+*(hydra\.sweeper\.params\.)?model")
"""Keys whose values may be ``path:DIR``."""


def with_home(words: Sequence[str]) -> list[str]:
    """The words with ``~`` for the home folder written out where a path begins: no shell does it inside a word.

    Hydra's grammar has none, either; before a key it deletes. What stands in quotes or in a list is as the user wrote it.

    >>> with_home(["~subset", "model.path=/a~/b", 'model="path:~/b"', "variant.name=~/x", "model=~/x"])
    ['~subset', 'model.path=/a~/b', 'model="path:~/b"', 'variant.name=~/x', 'model=~/x']
    """
    return [_with_home(word) for word in words]


def _with_home(word: str) -> str:
    key, _, paths = word.partition("=")
    before = PATH_CHOICE if MODEL.fullmatch(key) else ""
    if not before and not PATH.fullmatch(key):
        return word
    plain, *quoted = re.split(r"(?=[\"'\[{])", paths, maxsplit=1)
    paths = ",".join(_expanded(path, before) for path in plain.split(","))
    return "".join([key, "=" if "=" in word else "", paths, *quoted])


def _expanded(path: str, before: str) -> str:
    tail = path.removeprefix(before)
    begins = path.startswith(before) and (tail == "~" or tail.startswith("~/"))
    return before + os.path.expanduser(tail) if begins else path


def quote(value: str) -> str:
    r"""A text as Hydra's grammar takes it, whatever is in it.

    >>> print(quote('a "b" = c'))
    "a \"b\" = c"
    """
    return QuotedString(value, Quote.double).with_quotes()


def to_type(word: str, several: bool) -> str | None:
    """An override that Hydra cannot read, with quotes for Hydra around what needs them and for the shell around it all.

    >>> print(to_type("model.path=a=b", several=False))
    'model.path="a=b"'

    Args:
        word: as it came from the shell.
        several: whether commas divide values (with ``-m``).

    Returns:
        The word to type; None where no quotes help.
    """
    key, equal, value = word.partition("=")
    if not equal or not key:
        return None
    if value.startswith("[") and value.endswith("]"):
        proposed = "[" + ",".join(_readable(item) for item in value[1:-1].split(",")) + "]"
    elif several:
        proposed = ",".join(_readable(item) for item in value.split(",") if item)
    else:
        proposed = _readable(value)
    return shlex.quote(f"{key}={proposed}") if _parses(f"{key}={proposed}") else None


def _readable(value: str) -> str:
    return value if "," not in value and _parses(f"key={value}") else quote(value.strip())


def _parses(word: str) -> bool:
    try:
        OverridesParser.create().parse_override(word)
    except (HydraException, ValueError):  # also a number of too many digits
        return False
    return True
