"""``python -m lorabench.evaluate rescore runs/ID …``: score kept completions again, without a model."""

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path

from lorabench import records
from lorabench.cell import Cell
from lorabench.errors import UserError
from lorabench.evaluate import read_completions, write_completions
from lorabench.run import score_cell


def rescore(folder: Path) -> str:
    """Score the completions of a cell with the present code, write its record, and return one line that says what changed.

    Works on a finished cell and on one whose scoring stopped. The data of its task must be at hand; its model need not be.

    Raises:
        UserError: no completions, other test problems than those answered, or the scorer cannot work now.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} holds no cell; give the folder of a cell, such as runs/0123456789abcdef")
    with records.lock(folder / "lock", wait=True):
        return _rescore(folder)


def _rescore(folder: Path) -> str:
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
    before = record["metrics"]
    score_cell(cell, record, rows)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    record["rescored"] = {"finished": now, "versions": records.versions(), "git": records.git_state()}
    record.setdefault("finished", now)
    write_completions(folder / "completions.jsonl.gz", rows)
    records.write(folder / "record.json", record)
    pending.unlink(missing_ok=True)
    old = "unscored" if before is None else f"{100 * before['test']['mean']:.2f}"
    return f"{folder}: test {old} -> {100 * record['metrics']['test']['mean']:.2f}"


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m lorabench.evaluate", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("rescore", help="score the kept completions of cells again")
    command.add_argument("cells", nargs="+", type=Path, metavar="runs/ID")
    try:
        for folder in parser.parse_args().cells:
            print(rescore(folder))
    except UserError as error:
        print(f"lorabench: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
