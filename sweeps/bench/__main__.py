"""Replay search methods on measured landscapes: ``python -m sweeps.bench --tables gemma_math --methods random,tpe,gp``.

Every method gets the same first points for a seed, the same budget and the same candidates. Runs are appended to a file as they
end, and what is in the file is not run again, unless the table, the method or its code has changed.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from sweeps.bench import catalog
from sweeps.errors import SweepError


def seeds(text: str) -> range:
    """Of a number of seeds, or FIRST-LAST.

    >>> list(seeds("3")), list(seeds("7-9"))
    ([0, 1, 2], [7, 8, 9])

    Raises:
        SweepError: neither.
    """
    first, dash, last = text.partition("-")
    if first.isdecimal() and (not dash or last.isdecimal()):
        numbers = range(int(first), int(last) + 1) if dash else range(int(first))
        if len(numbers):
            return numbers
    raise SweepError(f"--seeds {text} is neither a number of seeds nor FIRST-LAST")


class Parser(argparse.ArgumentParser):
    """A parser whose mistakes are one line; the usage is what --help is for."""

    def error(self, message: str) -> NoReturn:
        """Raise SweepError."""
        raise SweepError(f"{message} (see --help)")


def main(arguments: Sequence[str] | None = None, prog: str = "python -m sweeps.bench") -> None:
    """Run the command line: a user's mistake ends in one line and exit code 2."""
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")  # what its encoding lacks
    try:
        _compare(parser(prog).parse_args(arguments))
    except SweepError as error:
        print(f"lorabench: {error}", file=sys.stderr)
        raise SystemExit(2) from error


def parser(prog: str, words: Sequence[str] = ()) -> Parser:
    """The parser of the command line, whatever its words."""
    parser = Parser(prog=prog, description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tables", required=True, help=f"of {', '.join(catalog.tables())}; several with commas")
    parser.add_argument("--methods", default=",".join(catalog.methods()), help="names of conf/hydra/sweeper, a change after a "
                        "colon: language_bo:method.token=false (default: all)")  # fmt: skip
    parser.add_argument("--seeds", default="20", help="so many, or FIRST-LAST (default: %(default)s)")
    parser.add_argument("--budget", type=int, default=30)
    parser.add_argument("--focus", help="the method that is compared with each other one (default: the last)")
    parser.add_argument("--data", type=Path, help="folder of tables that the package does not hold")
    parser.add_argument("--output", type=Path, default=Path("runs/search_bench.jsonl"))
    return parser


def _compare(options: argparse.Namespace) -> None:
    """Run what is missing, and print the tables."""
    from sweeps.bench.comparison import compare  # here, so that --help answers at once

    names, labels = options.tables.split(","), options.methods.split(",")
    print(compare(names, labels, seeds(options.seeds), options.budget, options.focus, options.data, options.output))


if __name__ == "__main__":
    main()
