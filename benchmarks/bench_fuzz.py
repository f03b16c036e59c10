"""Command lines that nobody would write: each ends in a plan, or in one line and code 2; never in a traceback or a hang.

A part of them goes through the whole command line; of the others the cells are checked as a plan does; of the cells that a
plan accepts some are run, for one that then fails had better been refused.

    make bench-fuzz N=10000
"""

import argparse
import sys
import time
from collections.abc import Callable
from functools import partial

from benchmarks.fuzz.answers import Answer, Writes
from benchmarks.fuzz.cells import cells, checked, ran
from benchmarks.fuzz.trials import Report, fuzz, on_command_line
from benchmarks.fuzz.words import commands

SECONDS, TRAINING = 60.0, 20.0
"""That a command may take, beside other work too, and after which a cell that is being trained counts as one that works."""


def main() -> None:
    """Run them and print how many ended how, and each failure once."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--count", type=int, default=1000, help="of all, a third of them whole command lines (default: %(default)s)"
    )
    parser.add_argument("--runs", type=int, default=20, help="cells that are run (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    writes, planned = Writes(), []

    def keep(words: tuple[str, ...], answer: Answer, count: int) -> None:
        if answer.outcome == "answered":
            planned.append(words)

    whole = options.count // 3
    on_command_line(("plan=true",), 1e3, writes)  # imports
    reports = [
        _shown(
            "command lines", fuzz, commands(), partial(on_command_line, seconds=SECONDS, writes=writes), whole, options.seed
        ),
        _shown("cells", fuzz, cells(), partial(checked, seconds=SECONDS), options.count - whole, options.seed, keep),
        _shown("runs", _run, planned[: options.runs], writes),
    ]
    sys.exit(any(report.failures for report in reports))


def _shown(what: str, make: Callable[..., Report], *arguments: object) -> Report:
    started = time.monotonic()
    report = make(*arguments)
    ends = ", ".join(f"{n} {outcome}" for outcome, n in report.outcomes.most_common())
    print(f"{report.outcomes.total()} {what} in {time.monotonic() - started:.0f} s: {ends}", flush=True)
    return report


def _run(planned: list[tuple[str, ...]], writes: Writes) -> Report:
    report, run = Report(), partial(ran, seconds=TRAINING, writes=writes)
    for words in planned:
        report.add(words, run(words), run)
    return report


if __name__ == "__main__":
    main()
