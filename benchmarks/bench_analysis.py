"""What many records cost: reading 100,000 of them, and a report of 5,000 cells, built and used in a browser.

  read    analysis.read.load.load_records against json.loads alone on the same files
  report  seconds to build the page, its size, and what loading, filtering and sorting take in headless Chromium

The records are copies of a real one with other learning rates, seeds, variants and samples.

    make bench-analysis RUNS=runs ARGS="--settings 48 --variants 100"
"""

import argparse
import copy
import json
import shutil
import statistics
import tempfile
import time
from itertools import product
from pathlib import Path
from typing import Any

from analysis.read.load import load_records
from analysis.report.html import report
from analysis.style.palette import STYLES

RATES = [1e-4 * 10 ** (i / 4) for i in range(12)]
FILTERED = """
const took = (act) => { const start = performance.now(); act(); document.body.offsetHeight; return performance.now() - start; };
const text = document.querySelector("#filter"), head = document.querySelector("#cells thead th:last-child button");
const filter = (words) => { text.value = words; text.dispatchEvent(new Event("input")); };
const shown = performance.getEntriesByType("navigation")[0];
return [shown.loadEventEnd, took(() => filter("seed=1 lora")), took(() => filter("")), took(() => head.click())];
"""


def copies(record: dict[str, Any], folder: Path, count: int, settings: int, variants: int) -> None:
    """`count` records of as many different cells: settings by their samples, the others evenly over variants and rates."""
    names = [*STYLES, *(f"variant{i}" for i in range(len(STYLES), variants))][:variants]
    seeds = range(-(-count // (settings * variants * len(RATES))))
    cells = product(seeds, RATES, names, range(settings))
    for i, (seed, lr, name, setting) in zip(range(count), cells, strict=False):
        cell = copy.deepcopy(record) | {"id": f"{i:016x}"}
        for part in (cell["config"], cell["identity"]):
            part |= {"seed": seed, "lr": lr, "train_samples": 1000 + setting, "variant": {**part["variant"], "name": name}}
        path = folder / cell["id"] / "record.json"
        path.parent.mkdir()
        path.write_text(json.dumps(cell))


def reading(folder: Path) -> tuple[float, float]:
    """Seconds of json.loads alone and of `load_records`."""
    paths = sorted(folder.glob("*/record.json"))
    for path in paths:  # from disk into memory, for both alike
        path.read_bytes()
    started = time.perf_counter()
    for path in paths:
        json.loads(path.read_bytes())
    plain = time.perf_counter() - started
    started = time.perf_counter()
    load_records(folder)
    return plain, time.perf_counter() - started


def browsing(page: Path) -> list[float]:
    """Milliseconds of loading, of a filter, of none and of a sort: medians of five."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    driver = webdriver.Chrome(options=options)
    try:
        rounds = []
        for _ in range(5):
            driver.get(page.as_uri())
            rounds.append(driver.execute_script(FILTERED))
    finally:
        driver.quit()
    return [statistics.median(times) for times in zip(*rounds, strict=True)]


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", type=Path, help="a folder with a record")
    parser.add_argument("--records", type=int, default=100_000, help="to read; 0: none")
    parser.add_argument("--cells", type=int, default=5_000, help="of the report")
    parser.add_argument("--settings", type=int, default=10)
    parser.add_argument("--variants", type=int, default=len(STYLES))
    options = parser.parse_args()
    sources = sorted(options.runs.glob("*/record.json"))
    if not sources:
        parser.error(f"no record in {options.runs}: run a cell first")
    record = json.loads(sources[0].read_text(encoding="utf-8"))
    if options.records:
        with tempfile.TemporaryDirectory() as name:
            copies(record, Path(name), options.records, options.settings, options.variants)
            plain, ours = reading(Path(name))
        print(f"read {options.records} records: {ours:.1f} s, {ours / plain:.1f} times json.loads alone ({plain:.1f} s)")
    with tempfile.TemporaryDirectory() as name:
        folder, page = Path(name) / "runs", Path(name) / "report.html"
        folder.mkdir()
        copies(record, folder, options.cells, options.settings, options.variants)
        started = time.perf_counter()
        size = report(folder, page)
        took = time.perf_counter() - started
        title = f"{options.cells} cells, {options.settings} settings, {options.variants} variants"
        print(f"report of {title}: {took:.1f} s, {size / 1e6:.1f} MB")
        if shutil.which("chromedriver"):
            names = ("loaded", "filtered", "all again", "sorted")
            times = ", ".join(f"{name} {took:.0f}" for name, took in zip(names, browsing(page), strict=True))
            print(f"milliseconds in Chromium: {times}")
        else:
            print("in Chromium: not measured (no chromedriver)")


if __name__ == "__main__":
    main()
