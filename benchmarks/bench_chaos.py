"""Sweeps and searches killed at hundreds of moments, and brought to the same bits by the same command.

make chaos KILLS=200
"""

import argparse
import json
import sys
import tempfile
from collections import Counter
from pathlib import Path

import lorabench.__main__
import lorabench.cells.run  # noqa: F401
import sweeps.sweepers.search  # noqa: F401
from benchmarks.crowd import crowded
from benchmarks.killing import killed_until_done

SMALL = ["train_samples=64", "batch_size=8", "task.test_samples=8", "task.validation_samples=8"]
CODE = ["task=custom", "task.scorer=code", "task.columns.tests=tests", "variant=lora,pissa", *SMALL[1:]]
"""A grid that is scored by running code, whose rows are ``functions``."""

COMMANDS = {
    "grid": ["variant=lora,adalora,full", "lr=3e-3,6e-3", *SMALL],
    "search": ["hydra/sweeper=random", "variant=lora,pissa", "lr=2e-3,6e-3", "hydra.sweeper.budget=3", *SMALL],
    "promotion": [
        *["hydra/sweeper=random", "variant=lora,rslora", "lr=2e-3,6e-3", "hydra.sweeper.budget=3", "hydra.sweeper.initial=2"],
        *["train_fraction=0.5", "hydra.sweeper.promote=1", *SMALL],
    ],
    "code": CODE,
}
"""Multiruns by what they are: cells of a grid, a search with its journal, proxies of which the best is run in full; code."""

CROWD = ["variant=lora,pissa", "seed=range(100)", "train_samples=8", "task.test_samples=2", "task.validation_samples=2"]
"""Two hundred cells for eight processes."""


def functions(folder: Path) -> Path:
    """A file of functions to write, with tests that take their time, so that kills fall into scoring."""
    file = folder / "functions.jsonl"
    rows = [
        {
            "prompt": f"Write f that adds {i}.",
            "response": f"def f(x):\n    return x + {i}",
            "tests": f"import time\ntime.sleep(0.1)\nassert f(1) == {1 + i}",
        }
        for i in range(80)
    ]
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return file


def main() -> None:
    """Kill, and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200, help="at least, of all commands together")
    parser.add_argument("--workers", type=int, default=8, help="processes that share 200 cells")
    parser.add_argument("--killed", type=int, default=40, help="of them, one after the other")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    share = -(-options.kills // len(COMMANDS))
    phases: Counter[str] = Counter()
    faults = []
    print("| command | kills | of them aimed at a write or rename | brought to the end | steps done again | faults |")
    print("|---|---|---|---|---|---|")
    for name, words in COMMANDS.items():
        with tempfile.TemporaryDirectory(prefix="lorabench-chaos-") as folder, tempfile.TemporaryDirectory() as data:
            if words is CODE:
                words = [*words, f"task.train={functions(Path(data))}"]
            tally = killed_until_done(words, Path(folder), share, options.seed)
        total = tally.kills.total()
        print(f"| {name} | {total} | {tally.aimed} | {tally.rounds} | {tally.repeated} | {len(tally.faults)} |", flush=True)
        phases += tally.kills
        faults += [f"{name}: {fault}" for fault in tally.faults]
    with tempfile.TemporaryDirectory(prefix="lorabench-chaos-") as folder:
        tally = crowded(CROWD, Path(folder), options.workers, options.killed, options.seed)
    print(
        f"| {options.workers} processes | {tally.kills.total()} | 0 | {tally.rounds} cells | | {len(tally.faults)} |",
        flush=True,
    )
    faults += [f"{options.workers} processes: {fault}" for fault in tally.faults]
    print("\n| killed while | kills |\n|---|---|")
    for phase, count in phases.most_common():
        print(f"| {phase} | {count} |")
    print(*faults, sep="\n")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
