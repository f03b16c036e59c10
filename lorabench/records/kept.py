"""Files of a cell that are read again: checked, and set aside where they are not what a cell leaves."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lorabench.errors import UserError
from lorabench.files import beside
from lorabench.records import form
from lorabench.terminal.bars import note


class Damaged(UserError):
    """A file is not what a cell leaves."""


def read_kept(file: Path, check: Callable[[dict[str, Any]], None]) -> dict[str, Any] | None:
    """The object in a file, None where there is none.

    Args:
        file: JSON.
        check: raises ValueError with a reason.

    Raises:
        Damaged: something else is there.
        UserError: a newer lorabench wrote it.
    """
    try:
        content = json.loads(file.read_bytes())
        check(content)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except form.Newer as error:
        raise UserError(f"{file}: {error}, or give another output_dir; it is left as it is") from None
    except OSError as error:
        raise Damaged(f"{file} cannot be read ({error.strerror})") from None
    except RecursionError:
        raise Damaged(f"{file} is not what a cell leaves (nested too deeply)") from None
    except ValueError as error:  # also of what is no JSON in UTF-8
        reason = " ".join(str(error).split()) or type(error).__name__
        raise Damaged(f"{file} is not what a cell leaves ({reason})") from None
    kept: dict[str, Any] = content
    return kept


def read_record(folder: Path, name: str | None = None) -> dict[str, Any] | None:
    """The record of a cell, None where there is none.

    Args:
        folder: with it.
        name: that the cell must have; None where the folder may be a copy under another name.

    Raises:
        Damaged: a file in its place that is none.
        UserError: a newer lorabench wrote it.
    """
    return read_kept(folder / "record.json", lambda record: form.check_record(record, name))


def read_or_set_aside(file: Path, check: Callable[[dict[str, Any]], None], instead: str) -> dict[str, Any] | None:
    """As ``read_kept``, by who holds the lock: what is damaged is renamed, a line says so, and None comes back.

    Args:
        file: JSON.
        check: raises ValueError with a reason.
        instead: what is done without it.

    Raises:
        UserError: a newer lorabench wrote it.
    """
    try:
        return read_kept(file, check)
    except Damaged as error:
        set_aside(file, str(error), instead)
        return None


def set_aside(file: Path, reason: str, instead: str) -> None:
    """Rename a file or folder, see ``files.beside``, and say so in one line."""
    place = beside(file)
    file.rename(place)
    note(f"{reason}: set aside as {place.name}, {instead}")


def check_pending(record: dict[str, Any], folder: str | None) -> None:
    """Check what is known of a cell between generation and scoring; raises as ``form.check_record``."""
    form.check_record(record | {"status": "failed", "metrics": None} if isinstance(record, dict) else record, folder)
    if not record.get("identity"):
        raise ValueError("identity is missing")
    form.check_measured(record)
    form.get(record, "validation_loss", (int, float, type(None)))


def check_untouched(measured: dict[str, Any], task: str, losses: list[str]) -> None:
    """Check what is known of the untouched base of a cell.

    Args:
        measured: of it.
        task: the name of the cell's.
        losses: that must be there.

    Raises:
        form.Newer: a later version wrote it.
        ValueError: it is something else.
    """
    if not isinstance(measured, dict):
        raise ValueError(f"a JSON {type(measured).__name__}, not an object")
    form.check_version({"schema_version": form.SCHEMA_VERSION} | measured)
    for split in ("validation", "test"):
        form.check_split(measured, f"metrics.{split}")
    for split in measured["metrics"]:
        form.check_split(measured, f"metrics.{split}")
    for key in losses:
        form.get(measured, key, (int, float))
    form.get({"extra": {}} | measured, "extra", dict)
    if measured.get("task") != task:
        raise ValueError(f"task is {measured.get('task')!r}, not {task!r}")
