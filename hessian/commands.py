"""``python -m hessian report`` and ``advise``: what the records of a folder say."""

import argparse
import logging
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from lorabench.errors import UserError

if TYPE_CHECKING:
    import pandas as pd


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line, as for every mistake."""
        raise UserError(f"{message}; see {self.prog} --help")


def run(words: Sequence[str]) -> None:
    """Run the command that the first word names.

    Raises:
        UserError: a mistake in the words, or a folder without what is needed.
        SystemExit: after ``--help``.
    """
    options = _parser().parse_args(words)
    logging.basicConfig(format="hessian: %(message)s", level=logging.WARNING)
    options.run(options)


def show(folder: Path, out: Path, style: str = "text") -> None:
    """Print the table of a folder's records, and draw its figures into ``out``, whose names go to standard error."""
    from hessian.figures import save
    from hessian.report import table

    frame = _load(folder)
    print(table(frame, style), end="")
    for file in save(frame, out):
        print(file, file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m hessian", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser)
    folder = _Parser(add_help=False)
    folder.add_argument("folder", metavar="FOLDER", type=Path, help="output_dir of python -m hessian (runs/hessian by default)")

    report = commands.add_parser("report", parents=[folder], help="print the table, draw the three figures")
    report.add_argument("--out", metavar="FOLDER", type=Path, help="where the figures go (default: beside the records)")
    report.add_argument("--format", choices=("text", "markdown", "csv"), default="text", help="default: %(default)s")
    report.set_defaults(run=_report)

    advise = commands.add_parser("advise", parents=[folder], help="suggest learning rates from LoRA's and the sharpness")
    advise.add_argument("--lr", metavar="LOW,HIGH", required=True, help="LoRA's good learning rates, such as 1e-4,1e-3")
    advise.add_argument("--published", metavar="FILE", type=Path, help="CSV of published cells, to show their quotients beside")
    advise.set_defaults(run=_advise)
    return parser


def _report(options: argparse.Namespace) -> None:
    show(options.folder, options.out or options.folder, options.format)


def _advise(options: argparse.Namespace) -> None:
    from hessian.advise import published, text

    low, high = _range(options.lr)
    quotients = published(options.published) if options.published else None
    print(text(_load(options.folder), low, high, quotients), end="")


def _range(word: str) -> tuple[float, float]:
    try:
        low, high = map(float, word.split(","))
    except ValueError:
        low, high = math.nan, math.nan
    if not 0 < low <= high < math.inf:
        raise UserError(f"--lr {word} is not LOW,HIGH with 0 < LOW <= HIGH, such as 1e-4,1e-3")
    return low, high


def _load(folder: Path) -> "pd.DataFrame":
    from analysis.errors import AnalysisError
    from analysis.read.blocks import load_blocks

    try:
        return load_blocks(folder)
    except AnalysisError as error:
        raise UserError(str(error)) from None
