"""What a search method is asked, with one line where it answers what no method may."""

import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from traceback import FrameSummary
from typing import Any

from sweeps.errors import MethodFault
from sweeps.numbers import is_number
from sweeps.search.base import Observation, Search
from sweeps.space import Space


def made(make: Callable[[Space, int], Search], space: Space, seed: int) -> Search:
    """The method.

    Raises:
        MethodFault: it has not made what every method has.
    """
    method = make(space, seed)
    if not (hasattr(method, "space") and hasattr(method, "shares")):
        raise _fault(method, "__init__", "must call super().__init__(space, seed)")
    return method


def question(method: Search, history: Sequence[Observation], space: Space) -> int:
    """The next candidate.

    Raises:
        MethodFault: it is none, or was tried.
    """
    candidate = method.ask(history)
    if type(candidate) is not int or not 0 <= candidate < len(space):
        shown = repr(candidate) if candidate is None or is_number(candidate) else f"a {type(candidate).__name__}"
        raise _fault(method, "ask", f"returned {shown}; it must return a candidate, a plain int in 0 … {len(space) - 1}")
    if candidate in {observation.candidate for observation in history}:
        raise _fault(method, "ask", f"returned {candidate}, which was tried; it must return a candidate not in the history")
    return candidate


def fingerprint(method: Search) -> dict[str, Any]:
    """What decides its questions besides settings.

    Raises:
        MethodFault: it is no dict that a journal can hold.
    """
    content: Any = method.fingerprint()
    try:
        if isinstance(content, dict):
            json.dumps(content)
            return content
        wrong = f"returned {'None' if content is None else f'a {type(content).__name__}'}"
    except (TypeError, ValueError) as error:
        wrong = f"returned what no JSON can hold ({error})"
    raise _fault(method, "fingerprint", f"{wrong}; it must return a dict of texts, numbers and lists")


@contextlib.contextmanager
def going_on() -> Iterator[None]:
    """Let `SystemExit` out of a method be a failure: it would end the whole command, without an error if its code is 0."""
    try:
        yield
    except SystemExit as stop:
        raise RuntimeError(f"SystemExit: {stop.code}") from stop


def _fault(method: Search, name: str, text: str) -> MethodFault:
    function = getattr(type(method), name)
    code = function.__code__
    return MethodFault(f"{function.__qualname__}() {text}", FrameSummary(code.co_filename, code.co_firstlineno, name))
