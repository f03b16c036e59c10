"""A function of the user's: ``module:function``, called with prompt, completion and response."""

import importlib
import inspect
from pathlib import Path

from lorabench.annotations import text_of
from lorabench.contributed import reason
from lorabench.errors import UserError
from lorabench.imports import hash_of, sources
from lorabench.tasks.example import Example
from lorabench.tasks.scorers.base import Scorer


class Own(Scorer):
    """``function(prompt, completion, response)`` gives a number in 0 … 1, or true or false.

    The module is looked for in the working folder and in that of ``--config-dir``.

    Attributes:
        source: hash of the module's file and of those that it imports from beside it: with other ones the cell is another one.
    """

    def __init__(self, module: str, function: str) -> None:
        where = f"task.scorer={module}:{function}"
        try:
            imported = importlib.import_module(module)
        except (Exception, SystemExit) as error:  # whatever the user's module does
            raise UserError(f"{where}: cannot import {module} ({reason(error)})") from error
        scoring = getattr(imported, function, None)
        if not callable(scoring):
            raise UserError(f"{where}: {module} has no function {function}")
        try:
            inspect.signature(scoring).bind("prompt", "completion", "response")
        except (TypeError, ValueError) as error:
            raise UserError(f"{where} must take prompt, completion and response ({error})") from error
        file = getattr(imported, "__file__", None)
        self.source = hash_of(sources(module, Path(file).resolve())) if file and file.endswith(".py") else "unknown"
        self._function, self._where = scoring, where

    def score(self, example: Example, completion: str) -> float:
        """The function's number."""
        try:
            given = self._function(example.question, completion, example.answer)
        except SystemExit as stop:
            raise UserError(f"{self._where} ends the command ({reason(stop)}); let it raise another exception") from stop
        try:
            number = -1.0 if isinstance(given, str) else float(given)
        except (TypeError, ValueError, OverflowError):
            number = -1.0
        if not 0 <= number <= 1:
            raise UserError(f"{self._where} gave {text_of(given)} to {example.id}; wanted a number in 0 … 1")
        return number
