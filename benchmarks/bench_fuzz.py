"""Command lines that nobody would write: each ends in a plan, or in one line and code 2; never in a traceback or a hang.

make bench-fuzz N=10000
"""

import argparse
import shlex
import sys
import time

from benchmarks.fuzz.trials import fuzz
from benchmarks.fuzz.words import commands

SECONDS = 30.0
"""That a command may take."""


def main() -> None:
    """Run them and print how many ended how, and each failure once."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    started = time.monotonic()

    def on_each(count: int) -> None:
        if count % 100 == 0:
            print(f"{count} in {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)

    report = fuzz(commands(), options.count, options.seed, SECONDS, on_each)
    seconds = time.monotonic() - started
    print(
        f"{report.outcomes.total()} command lines in {seconds:.0f} s: "
        + ", ".join(f"{n} {what}" for what, n in report.outcomes.most_common())
    )
    for words, answer in report.failures.values():
        print(f"\n{answer.outcome}: python -m lorabench {shlex.join(words)}\n  {answer.detail}")
    sys.exit(bool(report.failures))


if __name__ == "__main__":
    main()
