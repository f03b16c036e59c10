"""The results of cells that a sweep of proxies promoted to full training."""

import sys
from collections.abc import Sequence

from omegaconf import DictConfig

from lorabench.cell import Cell
from lorabench.evaluate import SPLITS
from lorabench.progress import number

COLUMNS = ("proxy", *SPLITS, "variant", "lr", "batch", "rank", "alpha", "dropout", "seed", "cell")


def report(configs: Sequence[DictConfig], proxies: Sequence[float]) -> None:
    """Print proxy, validation and test score of each, best proxy first; `-` for a cell without a result."""
    print(table([Cell.of(cfg) for cfg in configs], proxies), file=sys.stderr)


def table(cells: Sequence[Cell], proxies: Sequence[float]) -> str:
    """The scores in percent, a line a cell; the best by validation is marked: it is what one would report."""
    rows, validation = [], []
    for cell, proxy in zip(cells, proxies, strict=True):
        metrics = (cell.record() or {}).get("metrics") or {}
        scores = [metrics[split]["mean"] if split in metrics else None for split in SPLITS]
        validation.append(-1.0 if scores[0] is None else scores[0])
        c, v = cell.config, cell.config["variant"]
        values = [c["batch_size"], c["rank"], *(v.get(key, "-") for key in ("alpha", "dropout")), c["seed"], cell.id]
        texts = ["-" if score is None else f"{100 * score:.2f}" for score in (proxy, *scores)]
        rows.append([*texts, v["name"], number(c["lr"]), *(f"{x:g}" if isinstance(x, float) else str(x) for x in values)])
    widths = [max(len(row[i]) for row in [COLUMNS, *rows]) for i in range(len(COLUMNS))]
    lines = ["  ".join(text.rjust(width) for text, width in zip(row, widths, strict=True)) for row in [COLUMNS, *rows]]
    best = 1 + validation.index(max(validation)) if validation and max(validation) >= 0 else None
    marked = [f"{'*' if place == best else ' '} {line}" for place, line in enumerate(lines)]
    return "\n".join(["promoted to full training (*: the best by validation; scores in %)", *marked])
