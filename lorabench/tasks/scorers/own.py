"""A function of the user's: ``module:function``, called with prompt, completion and response."""

import hashlib
import importlib
import inspect
from pathlib import Path

from lorabench.contributed import reason
from lorabench.errors import UserError
from lorabench.tasks.example import Example
from lorabench.tasks.scorers.base import Scorer


class Own(Scorer):
    """``function(prompt, completion, response)`` gives a number in 0 … 1, or true or false.

    The module is looked for in the working folder and in that of ``--config-dir``.

    Attributes:
        source: hash of the module's file: with another one the cell is another one.
    """

    def __init__(self, module: str, function: str) -> None:
        where = f"task.scorer={module}:{function}"
        try:
            scoring = getattr(importlib.import_module(module), function, None)
        except Exception as error:  # whatever the user's module does
            raise UserError(f"{where}: cannot import {module} ({reason(error)})") from error
        if not callable(scoring):
            raise UserError(f"{where}: {module} has no function {function}")
        try:
            inspect.signature(scoring).bind("prompt", "completion", "response")
        except (TypeError, ValueError) as error:
            raise UserError(f"{where} must take prompt, completion and response ({error})") from error
        file = inspect.getsourcefile(scoring)
        self.source = hashlib.sha256(Path(file).read_bytes()).hexdigest() if file else "unknown"
        self._function, self._where = scoring, where

    def score(self, example: Example, completion: str) -> float:
        """The function's number."""
        given = self._function(example.question, completion, example.answer)
        try:
            number = float(given)
        except (TypeError, ValueError):
            number = -1.0
        if not 0 <= number <= 1:
            raise UserError(f"{self._where} gave {given!r} to {example.id}; wanted a number in 0 … 1"[:300])
        return number
