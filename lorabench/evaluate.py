"""``python -m lorabench.evaluate rescore runs/ID …``: score kept completions again, without a model."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from lorabench.contributed import let_import
from lorabench.terminal.entry import command, one_line


def parser(prog: str, words: Sequence[str] = ()) -> argparse.ArgumentParser:
    """The parser of the command line, whatever its words."""
    parser = one_line(argparse.ArgumentParser(prog=prog, description=__doc__))
    commands = parser.add_subparsers(dest="command", required=True)
    rescore = one_line(commands.add_parser("rescore", help="score the kept completions of cells again"))
    rescore.add_argument("cells", nargs="+", type=Path, metavar="runs/ID")
    rescore.add_argument("--config-dir", metavar="DIR", help="a folder with tasks of your own")
    return parser


def main(arguments: list[str] | None = None, prog: str = "python -m lorabench.evaluate") -> None:
    """The command line."""
    with command():
        words = list(sys.argv[1:] if arguments is None else arguments)
        options = parser(prog).parse_args(words)

        from lorabench.cells.rescore import Rescoring
        from lorabench.cells.session import current

        let_import(words)
        rescoring = Rescoring(current())
        for folder in options.cells:
            print(rescoring.rescore(folder))


if __name__ == "__main__":
    main()
