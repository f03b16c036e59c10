"""The entry to every command: what it prints, and how it ends where something is wrong."""

import argparse
import contextlib
import os
import sys
import traceback
from collections.abc import Iterator
from typing import NoReturn
from unicodedata import category

from lorabench.contributed import own_frames, reason
from lorabench.errors import UserError
from lorabench.schema import CONF, Config
from lorabench.terminal import signals

FULL_ERROR = os.environ.get("HYDRA_FULL_ERROR") == "1"
"""Whether the user wants each traceback; the variable itself is set later, to let Hydra raise instead of printing."""

LONGEST = 800
"""Characters of a line, about ten lines of a terminal."""


def one_line(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """The parser, whose mistakes are raised for ``command`` to print in a line; the usage is what --help is for."""

    def error(message: str) -> NoReturn:
        raise UserError(f"{message} (see --help)")

    parser.error = error  # type: ignore[method-assign]
    return parser


@contextlib.contextmanager
def command(config: str = "config", schema: type = Config) -> Iterator[None]:
    """The body of a command.

    A user's mistake ends in one line and exit code 2, a cell that failed in one and code 1, an exception out of a
    contributor's own file in one line, the frames of that file, and exit code 1. Of any other exception, a bug, the traceback
    is wanted; HYDRA_FULL_ERROR=1 shows each. A signal ends in one line, too (``signals``).

    Args:
        config: the primary config of the command, whose keys are the valid ones.
        schema: the dataclass of that config.
    """
    show_anything()
    with signals.running():
        try:
            yield
        except KeyboardInterrupt as stop:
            with contextlib.suppress(OSError):  # a terminal that has hung up
                say(str(stop) or signals.cause())
            sys.exit(signals.code())
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader (head, less) had enough
        except Exception as error:
            leave(error, config, schema)
            raise


def leave(error: BaseException, config: str = "config", schema: type = Config) -> None:
    """End the process as ``command`` says; return where the traceback is wanted."""
    if FULL_ERROR:
        return
    from lorabench.terminal.mistakes import explain

    if line := explain(error, CONF, config, schema):
        say(line)
        sys.exit(1 if type(error).__name__ in ("SweepFailed", "Failed") else 2)  # the command is right, but a cell failed
    if frames := own_frames(error):
        say(reason(error))
        print("".join(traceback.format_list(frames)), end="", file=sys.stderr)
        sys.exit(1)


def say(line: str) -> None:
    """Print what is wrong, as one line whatever stands in it."""
    print(f"lorabench: {shown(line)}", file=sys.stderr)


def shown(text: str) -> str:
    r"""A text of the user's in a line: its control characters as escapes, of a very long one the middle left out.

    >>> print(shown("a" + chr(10) + "b"))
    a\nb
    >>> len(shown("9" * 5000))
    801
    """
    text = "".join(repr(c)[1:-1] if category(c) in ("Cc", "Zl", "Zp") else c for c in text)
    return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]}…{text[-LONGEST // 2 :]}"


def show_anything() -> None:
    """Let standard output take every character: what its encoding lacks is a question mark (an escape on standard error)."""
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")
