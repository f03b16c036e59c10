"""The untouched base on the splits of a cell, measured once for an output folder."""

import math
from pathlib import Path
from typing import Any

from lorabench.cells.answers import SPLITS, read_completions, write_completions
from lorabench.cells.cell import Cell
from lorabench.cells.scores import score
from lorabench.cells.stages import answer_cell, split_losses
from lorabench.errors import UserError
from lorabench.files import digest, read_json, remove_leftovers, write_json
from lorabench.models.base import Base
from lorabench.provenance import git_state, versions
from lorabench.records.holding import held
from lorabench.terminal.bars import note


def untouched_scores(cell: Cell, base: Base) -> dict[str, Any]:
    """What a cell's record says of the base: the means of the splits, and what its generator measured besides."""
    file = untouched_file(cell.settings.output_dir, cell.identity)
    file.parent.mkdir(exist_ok=True)
    completions = file.with_suffix(".completions.jsonl.gz")
    with held(file.with_suffix(".lock"), f"the untouched {cell.model.name}"):
        remove_leftovers(file.parent, file.stem + ".*")
        measured = read_json(file)
        if measured is None:
            note(f"evaluating the untouched {cell.model.name} on {cell.task.name}")
            losses = split_losses(cell, base, base.model, SPLITS)
            if (loss := losses["validation_loss"]) is None or not math.isfinite(loss):
                raise UserError(f"model={cell.model.name}: its loss on the validation texts is {loss:g}; its files are damaged")
            answered = answer_cell(cell, base, None, rows=read_completions(completions))
            write_completions(completions, answered.rows)  # before scoring, which may stop
            measured = {
                "metrics": score(cell.task, answered.rows, losses),
                **losses,
                "seconds": answered.seconds,
                "model": cell.model.name,
                "task": cell.task.name,
                "extra": answered.extra,
                "versions": versions(),
                "git": git_state(),
            }
            write_completions(completions, answered.rows)
            write_json(file, measured)
    return means(measured)


def untouched_file(output_dir: str | Path, identity: dict[str, Any]) -> Path:
    """Where an output folder keeps what is known of the untouched base of cells of this identity."""
    parts = [identity["model"], identity["task"], identity["evaluator"], identity["trainer"]["max_length"]]
    return Path(output_dir) / "base" / f"{digest(parts)}.json"


def means(measured: dict[str, Any]) -> dict[str, Any]:
    """The means of the splits, and what the generator measured besides."""
    return {split: scores["mean"] for split, scores in measured["metrics"].items()} | measured.get("extra", {})
