"""Finished cells trained again: whether the same bits come out, and else what differs."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from lorabench.cells.answers import read_completions
from lorabench.cells.cell import Cell
from lorabench.cells.run import run
from lorabench.cells.session import Session
from lorabench.errors import UserError
from lorabench.records import legacy
from lorabench.records.foreign import check_foreign
from lorabench.records.kept import read_record
from lorabench.trackers.none import Nothing

QUIET = {"tracker": {"_target_": f"{Nothing.__module__}.{Nothing.__qualname__}", "name": "none"}, "save_adapter": False}
"""What a second training leaves out; none of it reaches the result."""


@dataclass(frozen=True)
class Verdict:
    """What came of training a cell again.

    Attributes:
        folder: the cell's.
        same: parts of the result that are the same to the bit, in words.
        different: those that are not, in words.
        machine: what differs between then and now, in words.
    """

    folder: Path
    same: list[str]
    different: list[str]
    machine: list[str]

    def __str__(self) -> str:
        if not self.different:
            return f"{self.folder}: the same bits: {', '.join(self.same)}"
        reason = "; ".join(self.machine) or "nothing that is recorded of the machine"
        return f"{self.folder}: differs in {', '.join(self.different)}; what differs between then and now: {reason}"


def verify(folder: Path, scratch: Path, session: Session) -> Verdict:
    """Train and evaluate a finished cell again, elsewhere, and compare.

    Args:
        folder: the cell's; nothing in it is changed.
        scratch: an empty folder, which several cells may share: the untouched base is then evaluated once.
        session: of the process. On a CPU it computes with as many threads as then.

    Raises:
        UserError: there is no finished cell; its code, model or data are others today; or what it needs is not at hand.
    """
    record = read_record(folder)
    if record is None or record["status"] == "failed":
        raise UserError(f"{folder} holds no finished cell; give the folder of one, such as runs/0123456789abcdef")
    check_foreign(record["config"], folder / "record.json")
    elsewhere = {"output_dir": str(scratch), "device": record["device"]["type"]}
    cell = Cell(_lowered(record, legacy.present_config(record["config"])) | QUIET | elsewhere, session)
    if cell.identity != record["identity"]:
        changed = ", ".join(sorted(_changes(record["identity"], cell.identity)))
        raise UserError(f"{folder} cannot be verified: {changed} is not what it was; check out the commit of its record")
    if record["device"]["type"] == "cpu":
        torch.set_num_threads(record["device"]["threads"])
    run(cell)
    again = cell.record()
    assert again is not None
    compared = {
        name: value == again_value
        for name, value, again_value in _parts(record, again, folder, cell.folder)
        if value is not None and again_value is not None
    }
    same = [name for name, equal in compared.items() if equal]
    different = [name for name, equal in compared.items() if not equal]
    return Verdict(folder, same, different, _machine(record, again))


def _lowered(record: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    """The config with the smaller batches that the cell came to where memory ran out."""
    for key, value in (record.get("lowered") or {}).items():
        part, _, name = key.partition(".")
        config = config | {part: config[part] | {name: value}}
    return config


def _parts(record: dict[str, Any], again: dict[str, Any], *folders: Path) -> Iterator[tuple[str, Any, Any]]:
    """Name, value of then and value of now of each part of a result; None where it was not recorded."""
    training, training_again = record["training"], again["training"]
    yield f"{len(training['loss'])} losses", training["loss"], training_again["loss"]
    yield "gradient norms", training.get("grad_norm"), training_again["grad_norm"]
    yield "trained weights", training.get("weights_sha256"), training_again["weights_sha256"]
    yield "validation loss", record.get("validation_loss"), again.get("validation_loss")
    then, now = (_answers(folder) for folder in folders)
    yield f"{len(then or [])} completions", then, now
    yield "scores", record["metrics"], again["metrics"]
    yield "scores of the untouched base", record["base"], again["base"]


def _answers(folder: Path) -> list[Any] | None:
    """What was answered, without its scores; None where nothing was generated."""
    rows = read_completions(folder / "completions.jsonl.gz")
    return [(row["split"], row["id"], row["completion"]) for row in rows] if rows else None


def _machine(record: dict[str, Any], again: dict[str, Any]) -> list[str]:
    """What is recorded of code and machine, where it differs."""
    of_code = {"commit": record["git"]["commit"], "uncommitted changes": record["git"]["dirty"]}
    of_code_now = {"commit": again["git"]["commit"], "uncommitted changes": again["git"]["dirty"]}
    then, now = (
        one["versions"] | {f"device {key}": value for key, value in one["device"].items()} | code
        for one, code in ((record, of_code), (again, of_code_now))
    )
    lines = [f"{key} {then.get(key)} -> {now.get(key)}" for key in {**then, **now} if then.get(key) != now.get(key)]
    return lines + [f"{key} was lowered to {value} on the way" for key, value in (record.get("lowered") or {}).items()]


def _changes(then: Any, now: Any, path: str = "") -> Iterator[str]:
    """Keys at which two identities differ."""
    if isinstance(then, dict) and isinstance(now, dict):
        for key in {**then, **now}:
            yield from _changes(then.get(key), now.get(key), f"{path}.{key}".lstrip("."))
    elif then != now:
        yield path
