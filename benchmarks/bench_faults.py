"""Full and read-only disks, folders that go, damaged files, clocks that jump: a grid beside one that nothing disturbs.

make chaos TRIES=30
"""

import argparse
import sys
import tempfile
from pathlib import Path

import lorabench.__main__
import lorabench.cells.run  # noqa: F401
from benchmarks.faults import injected


def main() -> None:
    """Inject, and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tries", type=int, default=30, help="of each kind")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print("| fault | tried | exit codes | not the same in the end |\n|---|---|---|---|")
    said, wrong = [], []
    with tempfile.TemporaryDirectory(prefix="lorabench-faults-") as folder:
        for words, fault in injected(Path(folder), options.seed, options.tries):
            print(f"| {words} | {fault.tried} | {', '.join(map(str, sorted(fault.codes)))} | {len(fault.wrong)} |", flush=True)
            said += [f"* {line}" for line in sorted(fault.lines)]
            wrong += [f"{words}: {text}" for text in fault.wrong]
    print("\nWhat was said:\n", *said, *wrong, sep="\n")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
