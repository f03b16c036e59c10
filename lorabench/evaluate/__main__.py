"""``python -m lorabench.evaluate rescore runs/ID …``: score kept completions again, without a model."""

import argparse
import sys
from pathlib import Path
from typing import Any

import yaml

from lorabench import records
from lorabench.__main__ import CONF
from lorabench.cell import Cell
from lorabench.errors import UserError
from lorabench.evaluate import read_completions, score, write_completions
from lorabench.progress import PROGRESS
from lorabench.run import base_file, base_scores, score_cell


def rescore(folder: Path, bases: dict[Path, dict[str, Any]] | None = None) -> str:
    """Score the completions of a cell and of its untouched base with the present code, and write what is found.

    Works on a finished cell and on one whose scoring stopped. The data of its task must be at hand; its model need not be.

    Args:
        folder: the cell's.
        bases: bases that were scored already, by file; filled here.

    Returns:
        One line that says what changed.

    Raises:
        UserError: no completions, other test problems than those answered, or the scorer cannot work now.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} holds no cell; give the folder of a cell, such as runs/0123456789abcdef")
    with records.lock(folder / "lock", wait=True):
        return _rescore(folder, {} if bases is None else bases)


def _rescore(folder: Path, bases: dict[Path, dict[str, Any]]) -> str:
    pending = folder / "pending.json"
    record = records.read(pending) or records.read(folder / "record.json")
    if record is None:
        raise UserError(f"{folder} holds no cell (no record.json); give the folder of a cell, such as runs/0123456789abcdef")
    if record["status"] == "diverged":
        return f"{folder}: the run diverged, there is nothing to score"
    rows = read_completions(folder / "completions.jsonl.gz")
    if rows is None:
        raise UserError(f"{folder}/completions.jsonl.gz is missing or damaged; delete {folder} and run the cell again")
    cell = Cell(record["config"] | {"output_dir": str(folder.parent), "plan": False, "when_busy": "wait"})
    if cell.task.fingerprint() != record["data"]["fingerprint"]:
        raise UserError(
            f"{folder}: the data at hand are not those that the cell was evaluated on; restore them or run it again"
        )
    before, version = record["metrics"], _present_version(cell)
    if version not in (None, cell.task.version):
        PROGRESS.note(
            f"{folder} was made by version {cell.task.version} of task={cell.task.name}, which is at {version} now: "
            "if its data or prompts have changed since, and not its scores alone, run the cell again instead"
        )
    score_cell(cell, record, rows)
    record["rescored"] = records.scored_now() | {"task_version": version}
    record.setdefault("finished", record["rescored"]["finished"])
    base = _rescore_base(cell, base_file(folder.parent, record["identity"]), bases)
    if base is not None:
        record["base"] = base_scores(base)
    write_completions(folder / "completions.jsonl.gz", rows)
    records.write(folder / "record.json", record)
    pending.unlink(missing_ok=True)
    split = cell.splits[-1]
    old = "unscored" if before is None else f"{100 * before[split]['mean']:.2f}"
    return f"{folder}: {split} {old} -> {100 * record['metrics'][split]['mean']:.2f}"


def _present_version(cell: Cell) -> int | None:
    """The version of the cell's task in the shipped configs; None for a task from elsewhere."""
    file = CONF / "task" / f"{cell.task.name}.yaml"
    return yaml.safe_load(file.read_text()).get("version") if file.is_file() else None


def _rescore_base(cell: Cell, file: Path, bases: dict[Path, dict[str, Any]]) -> dict[str, Any] | None:
    """What is known of the untouched base, scored again; None, with a note, where its completions are gone."""
    if file not in bases:
        completions = file.with_suffix(".completions.jsonl.gz")
        file.parent.mkdir(exist_ok=True)
        with records.lock(file.with_suffix(".lock"), wait=True):
            found, rows = records.read(file), read_completions(completions)
            if found is None or rows is None:
                PROGRESS.note(f"{completions} or {file.name} is missing: the scores of the untouched base stay as they were")
                return None
            found |= {"metrics": score(cell.task, rows, found["validation_loss"]), "rescored": records.scored_now()}
            write_completions(completions, rows)
            records.write(file, found)
        bases[file] = found
    return bases[file]


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m lorabench.evaluate", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("rescore", help="score the kept completions of cells again")
    command.add_argument("cells", nargs="+", type=Path, metavar="runs/ID")
    bases: dict[Path, dict[str, Any]] = {}
    try:
        for folder in parser.parse_args().cells:
            print(rescore(folder, bases))
    except UserError as error:
        print(f"lorabench: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
