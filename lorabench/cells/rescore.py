"""Kept completions scored again with the present code, without a model."""

from functools import partial
from pathlib import Path
from typing import Any

from lorabench.cells.answers import read_completions, write_completions
from lorabench.cells.cell import Cell
from lorabench.cells.scores import score, score_record
from lorabench.cells.session import Session
from lorabench.cells.untouched import check, means, untouched_file
from lorabench.errors import UserError
from lorabench.files import remove_leftovers, write_json
from lorabench.provenance import scored_now
from lorabench.records import legacy
from lorabench.records.card import write_card
from lorabench.records.foreign import check_foreign
from lorabench.records.holding import held
from lorabench.records.kept import check_pending, read_kept, read_record
from lorabench.terminal.bars import note


class Rescoring:
    """Scores cells again; the untouched base that several share is scored once.

    Args:
        session: of the process.
    """

    def __init__(self, session: Session):
        self.session = session
        self._untouched: dict[Path, dict[str, Any]] = {}

    def rescore(self, folder: Path) -> str:
        """Score the completions of a cell and of its untouched base, and write what comes out.

        Works on a finished cell and on one whose scoring stopped. The data of its task must be at hand; its model need not be.

        Args:
            folder: the cell's.

        Returns:
            One line that says what changed.

        Raises:
            UserError: no completions, other test problems than those answered, or the scorer cannot work now.
        """
        if not folder.is_dir():
            raise UserError(f"{folder} holds no cell; give the folder of a cell, such as runs/0123456789abcdef")
        with held(folder / "lock", str(folder)):
            remove_leftovers(folder)
            return self._rescore(folder)

    def _rescore(self, folder: Path) -> str:
        pending = folder / "pending.json"
        record = read_record(folder)
        if record is None or record["status"] == "failed":
            record = read_kept(pending, lambda content: check_pending(content, None)) or record
        if record is None:
            raise UserError(
                f"{folder} holds no cell (no record.json); give the folder of a cell, such as runs/0123456789abcdef"
            )
        if record["status"] == "diverged":
            return f"{folder}: the run diverged, there is nothing to score"
        rows = read_completions(folder / "completions.jsonl.gz")
        if rows is None:
            raise UserError(f"{folder}/completions.jsonl.gz is missing or damaged; delete {folder} and run the cell again")
        check_foreign(record["config"], folder / "record.json")
        cell = Cell(legacy.present_config(record["config"]) | {"output_dir": str(folder.parent)}, self.session)
        if cell.task.fingerprint() != record["data"]["fingerprint"]:
            raise UserError(
                f"{folder}: the data at hand are not those that the cell was evaluated on; restore them or run it again"
            )
        made, present = task_version(record), type(cell.task).version
        if made not in (None, present):
            note(
                f"{folder} was made by version {made} of task={cell.task.name}, which is at {present} now: "
                "if its data or prompts have changed since, and not its scores alone, run the cell again instead"
            )
        before = record["metrics"]
        score_record(cell.task, rows, record, cell.splits)
        record["rescored"] = scored_now() | {"task_version": present}
        record.setdefault("finished", record["rescored"]["finished"])
        untouched = self._rescore_untouched(cell, untouched_file(folder.parent, record["identity"]))
        if untouched is not None:
            record["base"] = means(untouched)
        write_completions(folder / "completions.jsonl.gz", rows)
        write_card(folder, record)
        write_json(folder / "record.json", record)
        pending.unlink(missing_ok=True)
        split = cell.splits[-1]
        old = "unscored" if before is None else f"{100 * before[split]['mean']:.2f}"
        return f"{folder}: {split} {old} -> {100 * record['metrics'][split]['mean']:.2f}"

    def _rescore_untouched(self, cell: Cell, file: Path) -> dict[str, Any] | None:
        """What is known of the untouched base, scored again; None, with a note, where its completions are gone."""
        if file not in self._untouched:
            completions = file.with_suffix(".completions.jsonl.gz")
            file.parent.mkdir(exist_ok=True)
            with held(file.with_suffix(".lock"), f"the untouched {cell.model.name}"):
                measured, rows = read_kept(file, partial(check, cell)), read_completions(completions)
                if measured is None or rows is None:
                    note(f"{completions} or {file.name} is missing: the scores of the untouched base stay as they were")
                    return None
                measured["metrics"] = score(cell.task, rows, measured)
                measured["rescored"] = scored_now()
                write_completions(completions, rows)
                write_json(file, measured)
            self._untouched[file] = measured
        return self._untouched[file]


def task_version(record: dict[str, Any]) -> Any:
    """The version of the task's class that made a record; None for a class that states none."""
    if record["schema_version"] == 1:
        return record["config"]["task"].get("version")
    task = record["identity"]["task"]
    stated = task["code"].get(task["_target_"])
    return stated if isinstance(stated, int) else None
