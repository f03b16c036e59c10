"""``python -m lorabench.evaluate rescore runs/ID …``: score kept completions again, without a model."""

import argparse
import sys
from pathlib import Path

from lorabench.contributed import let_import
from lorabench.errors import UserError


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m lorabench.evaluate", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("rescore", help="score the kept completions of cells again")
    command.add_argument("cells", nargs="+", type=Path, metavar="runs/ID")
    command.add_argument("--config-dir", metavar="DIR", help="a folder with tasks of your own")
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = parser.parse_args(words)

    from lorabench.cells.rescore import Rescoring
    from lorabench.cells.session import current

    rescoring = Rescoring(current())
    try:
        let_import(words)
        for folder in options.cells:
            print(rescoring.rescore(folder))
    except UserError as error:
        print(f"lorabench: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
