"""The untouched base on the splits of a cell, measured once for an output folder."""

import math
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from lorabench.cells.answers import SPLITS, kept_rows, write_completions
from lorabench.cells.cell import Cell
from lorabench.cells.scores import score, split_losses
from lorabench.cells.stages import answer_cell
from lorabench.errors import UserError
from lorabench.files import digest, remove_leftovers, write_json
from lorabench.models.base import Base
from lorabench.provenance import git_state, versions
from lorabench.records.holding import held
from lorabench.records.kept import check_untouched, read_or_set_aside
from lorabench.terminal.bars import note


def untouched_scores(cell: Cell, base: Base) -> dict[str, Any]:
    """What a cell's record says of the base: the means of the splits, and what its generator measured besides."""
    file = untouched_file(cell.settings.output_dir, cell.identity)
    file.parent.mkdir(exist_ok=True)
    completions = file.with_suffix(".completions.jsonl.gz")
    with held(file.with_suffix(".lock"), f"the untouched {cell.model.name}"):
        remove_leftovers(file.parent, file.stem + ".*")
        _remove_leftovers_of_others(file.parent)
        measured = read_or_set_aside(file, partial(check, cell), "and the untouched model is scored again")
        if measured is None:
            note(f"evaluating the untouched {cell.model.name} on {cell.task.name}")
            trainer = replace(cell.trainer)  # a copy: where memory runs out here, the cell's own training is as it would be
            losses = split_losses(cell, base, base.model, SPLITS, trainer)
            if (loss := losses["validation_loss"]) is None or not math.isfinite(loss):
                raise UserError(f"model={cell.model.name}: its loss on the validation texts is {loss:g}; its files are damaged")
            rows = kept_rows(completions, cell.task, SPLITS, "and the untouched model answers again")
            answered = answer_cell(cell, base, None, rows=rows)
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


def _remove_leftovers_of_others(folder: Path) -> None:
    """Those of untouched models that no cell may ask for again; who holds a lock may be writing."""
    for stem in {scratch.name.partition(".")[0] for scratch in folder.glob("*.tmp")}:
        with held(folder / f"{stem}.lock", stem, wait=False) as free:
            if free:
                remove_leftovers(folder, f"{stem}.*")


def check(cell: Cell, measured: dict[str, Any]) -> None:
    """Raise ValueError unless this is what is known of the untouched base of a cell."""
    ways = {"validation": cell.task.validation, "test": cell.task.tested}
    losses = [f"{split}_loss" for split, way in ways.items() if way == "likelihood"]
    check_untouched(measured, cell.task.name, losses)


def untouched_file(output_dir: str | Path, identity: dict[str, Any]) -> Path:
    """Where an output folder keeps what is known of the untouched base of cells of this identity."""
    parts = [identity["model"], identity["task"], identity["evaluator"], identity["trainer"]["max_length"]]
    return Path(output_dir) / "base" / f"{digest(parts)}.json"


def means(measured: dict[str, Any]) -> dict[str, Any]:
    """The means of the splits, and what the generator measured besides."""
    return {split: scores["mean"] for split, scores in measured["metrics"].items()} | measured.get("extra", {})
