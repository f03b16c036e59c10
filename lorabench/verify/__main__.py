"""``lorabench verify runs/ID …``: train finished cells again, and compare the bits."""

import argparse
import random
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from lorabench.contributed import let_import
from lorabench.errors import UserError
from lorabench.files import read_json
from lorabench.terminal.entry import command, one_line


def parser(prog: str, words: Sequence[str] = ()) -> argparse.ArgumentParser:
    """The parser of the command line, whatever its words."""
    made = one_line(
        argparse.ArgumentParser(
            prog=prog,
            description="Train finished cells again, and compare losses, trained weights, completions and scores with their "
            "records, to the bit. Where they differ, what differs between then and now is listed, and the exit code is 1.",
        )
    )
    made.add_argument("folders", nargs="*", type=Path, metavar="runs/ID", help="cells; with --all, folders of cells (runs)")
    made.add_argument("--all", action="store_true", help="all finished cells of the folders")
    made.add_argument("--sample", type=int, metavar="N", help="of those, N drawn at random")
    made.add_argument("--seed", type=int, default=0, metavar="S", help="of the draw (default 0)")
    made.add_argument("--config-dir", metavar="DIR", help="a folder with parts of your own")
    return made


def main(arguments: list[str] | None = None, prog: str = "python -m lorabench.verify") -> None:
    """The command line.

    Raises:
        SystemExit: 1 where a cell came out otherwise.
    """
    with command():
        words = list(sys.argv[1:] if arguments is None else arguments)
        options = parser(prog).parse_args(words)
        folders = _chosen(options)

        from lorabench.cells.session import current
        from lorabench.verify.cell import verify

        let_import(words)
        differing = 0
        with tempfile.TemporaryDirectory(prefix="lorabench-verify-") as scratch:
            for folder in folders:
                verdict = verify(folder, Path(scratch), current())
                differing += bool(verdict.different)
                print(verdict, flush=True)
        if differing:
            raise SystemExit(1)


def _chosen(options: argparse.Namespace) -> list[Path]:
    """The folders of the cells that the command names.

    Raises:
        UserError: none, or a sample without a folder of cells.
    """
    if not options.all:
        if options.sample is not None:
            raise UserError("--sample N draws from all cells of a folder: give --all, too")
        if not options.folders:
            raise UserError("give the folders of cells, such as runs/0123456789abcdef, or --all")
        return list(options.folders)
    places = options.folders or [Path("runs")]
    records = sorted(file for place in places for file in place.glob("*/record.json"))
    cells = [file.parent for file in records if (read_json(file) or {}).get("status") in ("complete", "diverged")]
    if not cells:
        raise UserError(f"there is no finished cell in {', '.join(map(str, places))}")
    if options.sample is None:
        return cells
    if options.sample < 1:
        raise UserError(f"--sample {options.sample} must be at least 1")
    return sorted(random.Random(options.seed).sample(cells, min(options.sample, len(cells))))


if __name__ == "__main__":
    main()
