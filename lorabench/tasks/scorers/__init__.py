"""Scorers by name: one file each, found by its name; its ``SCORER`` is the class."""

import importlib
import pkgutil
from collections.abc import Mapping, Sequence
from typing import Any

from lorabench.errors import UserError, nearest
from lorabench.tasks.scorers.base import Scorer
from lorabench.tasks.scoring.numbers import GOLD

LABELS, LENGTH, REPEATED = 20, 40, 5
"""Labels: at most so many different responses, none longer than so many characters, each of them so often on average."""


def names() -> list[str]:
    """Of all scorers."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if module.name not in ("base", "own"))


def scorer_of(text: str, settings: Mapping[str, Any]) -> Scorer:
    """The scorer that ``task.scorer`` names: ``NAME``, ``NAME=ARGUMENT``, or ``module:function`` of the user's.

    Args:
        text: its name.
        settings: the task's fields, of which it takes those that it names in ``Scorer.settings``.

    Raises:
        UserError: there is none, or its argument or one of its settings is missing or wrong.
    """
    name, equals, argument = text.partition("=")
    if name not in names():
        module, colon, function = text.partition(":")
        if colon and module and function.isidentifier():
            from lorabench.tasks.scorers.own import Own

            return Own(module, function)
        raise UserError(f"task.scorer={text} is none; {nearest(name, names())}; or give module:function of your own")
    kind: type[Scorer] = importlib.import_module(f"{__name__}.{name}").SCORER
    if kind.argument is None and equals:
        raise UserError(f"task.scorer={text}: {name} takes nothing behind it; write task.scorer={name}")
    if kind.argument is not None and not argument:
        raise UserError(f"task.scorer={text} needs {kind.argument}: 'task.scorer=\"{name}={kind.argument}\"'")
    if lacking := [column for column in kind.columns if not settings["columns"].get(column)]:
        raise UserError(f"task.scorer={name} needs {lacking[0]}: say which column has them, task.columns.{lacking[0]}=COLUMN")
    return kind(*filter(None, [argument]), **{key: settings[key] for key in kind.settings})


def versions(stated: Scorer | None) -> list[str]:
    """What tells of scorers' code that came after version 1: of the one that is stated, or of those that data may get."""
    kinds = [type(stated)] if stated else [type(scorer_of(name, {})) for name in ("number", "choice", "loss")]
    return [f"{kind.__module__}={kind.version}" for kind in kinds if kind.version > 1]


def suited(answers: Sequence[str], prompted: bool) -> tuple[Scorer, str]:
    """A scorer that such responses allow, and why, for data whose user names none."""
    different = {answer.strip() for answer in answers}
    if prompted and all(GOLD.fullmatch(answer) for answer in different):
        return scorer_of("number", {}), "every response is a number"
    few = 2 <= len(different) <= LABELS and len(answers) >= REPEATED * len(different)
    if prompted and few and max(map(len, different)) <= LENGTH:
        return scorer_of("choice", {}), f"the responses are {len(different)} labels"
    return scorer_of("loss", {}), "the responses are texts; task.scorer names another one"
