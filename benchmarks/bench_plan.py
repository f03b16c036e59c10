"""Time and memory of planning large grids, and of running a finished sweep again, each in a process of its own.

Seconds are of the processor, since a busy machine's clock says little, and of the clock in brackets; memory is the peak of the
process. The first line is a plan of one cell: start, imports and what one cell takes, which every other line has too.

    make bench-plan
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

VARIANTS = "lora,rslora,pissa,milora,olora,init_ab,dora,loraplus,lora_fa,mora"
RATES = ",".join(f"{1e-4 * 1.05**i:.6e}" for i in range(100))
SMALL = ("train_samples=8", "task.test_samples=2", "task.validation_samples=2")
"""Of cells that are trained in no time."""


def measured(*words: str) -> tuple[float, float, float]:
    """Seconds of processor and clock, and the peak of memory in MB, of a command in a child of a child of this process."""
    process = subprocess.run([sys.executable, __file__, "--child", *words], capture_output=True, text=True, check=True)
    return tuple(json.loads(process.stdout.splitlines()[-1]))


def child(words: list[str]) -> None:
    """Run a command and print what it took as the last line."""
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "lorabench", *words], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(json.dumps([used.ru_utime + used.ru_stime, time.perf_counter() - started, used.ru_maxrss / 1e3]))


def finish(grid: list[str], cells: int) -> None:
    """Train one cell of a grid and give its record to all of them: what a finished sweep leaves."""
    from hydra import compose, initialize_config_dir

    from lorabench import schema
    from lorabench.cells.cell import Cell
    from lorabench.cells.session import current
    from lorabench.schema import CONF

    schema.register()
    shared = [word for word in grid if "," not in word and "range" not in word and word != "-m"]
    subprocess.run([sys.executable, "-m", "lorabench", *shared, "seed=0"], check=True, stderr=subprocess.DEVNULL)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        first = Cell.of(compose("config", [*shared, "seed=0"]), current())
    for seed in range(1, cells):
        cell = Cell(first.config | {"seed": seed}, first.session)
        cell.folder.mkdir()
        record = first.record() | {"id": cell.id, "identity": cell.identity, "config": cell.recorded_config}
        (cell.folder / "record.json").write_text(json.dumps(record, indent=1) + "\n")


def main() -> None:
    """Measure and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 10, 100], help="a grid has 1,000 cells for each")
    parser.add_argument("--finished", type=int, default=500, help="cells of the finished sweep")
    options = parser.parse_args()
    print("| command | s of processor | s of clock | beyond one cell's | peak, MB | beyond one cell's |")
    print("|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        Path("none").mkdir()
        one = line("a plan of one cell", ["plan=true", "output_dir=none"])
        for seeds in options.seeds:
            grid = [f"variant={VARIANTS}", f"lr={RATES}", f"seed=range({seeds})", "plan=true", "output_dir=none", "-m"]
            line(f"a plan of {1000 * seeds:,} cells", grid, one)
        sweep = [*SMALL, f"seed=range({options.finished})", "-m"]
        finish(sweep, options.finished)
        line(f"a finished sweep of {options.finished} cells", sweep, one)


def line(what: str, words: list[str], one: tuple[float, float, float] = (0, 0, 0)) -> tuple[float, float, float]:
    """Measure a command and print its line, beside those of one cell."""
    seconds, clock, peak = values = measured(*words)
    print(f"| {what} | {seconds:.1f} | {clock:.1f} | {seconds - one[0]:.1f} | {peak:.0f} | {peak - one[2]:.0f} |", flush=True)
    return values


if __name__ == "__main__":
    child(sys.argv[2:]) if sys.argv[1:2] == ["--child"] else main()
