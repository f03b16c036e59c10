"""What ``sweeps``, which knows no cells, asks of them: what decides a score, and the results of the promoted."""

import sys
from collections.abc import Sequence
from statistics import fmean
from typing import Any

from omegaconf import DictConfig

from lorabench.cells.answers import SPLITS
from lorabench.cells.cell import Cell
from lorabench.cells.session import current
from lorabench.files import digest
from lorabench.terminal.formats import format_lr

COLUMNS = ("proxy", *SPLITS, "variant", "lr", "batch", "rank", "alpha", "dropout", "seed", "cell")


def settings(cfg: DictConfig) -> dict[str, Any]:
    """What decides a cell's score, as of a record: the config without knobs, and what weights and data are.

    Raises:
        UserError: weights or data are not at hand.
    """
    return Cell.of(cfg, current()).identity


def report(configs: Sequence[DictConfig], proxies: Sequence[float]) -> None:
    """Print proxy, validation and test score of each, best proxy first; `-` for a cell without a result."""
    print(table([Cell.of(cfg, current()) for cfg in configs], proxies), file=sys.stderr)


def table(cells: Sequence[Cell], proxies: Sequence[float]) -> str:
    """The scores in percent, a line a cell; marked is what one would report: the best by mean validation over its seeds."""
    rows: list[list[str]] = []
    validation: dict[str, list[float]] = {}
    configurations = [digest(cell.identity | {"seed": None, "data_seed": cell.settings.data_seed}) for cell in cells]
    for cell, proxy, configuration in zip(cells, proxies, configurations, strict=True):
        metrics = (cell.record() or {}).get("metrics") or {}
        scores = [metrics[split]["mean"] if split in metrics else None for split in SPLITS]
        if scores[0] is not None:
            validation.setdefault(configuration, []).append(scores[0])
        c, variant = cell.settings, cell.settings.variant
        values = [c.batch_size, c.rank, *(variant.get(key, "-") for key in ("alpha", "dropout")), c.seed, cell.id]
        texts = ["-" if score is None else f"{100 * score:.2f}" for score in (proxy, *scores)]
        rows.append([*texts, variant["name"], format_lr(c.lr), *(f"{x:g}" if isinstance(x, float) else str(x) for x in values)])
    widths = [max(len(row[i]) for row in [COLUMNS, *rows]) for i in range(len(COLUMNS))]
    lines = ["  ".join(text.rjust(width) for text, width in zip(row, widths, strict=True)) for row in [COLUMNS, *rows]]
    best = max(validation, key=lambda configuration: fmean(validation[configuration]), default=None)
    pairs = zip(["", *configurations], lines, strict=True)
    marked = [f"{'*' if configuration == best else ' '} {line}" for configuration, line in pairs]
    return "\n".join(["promoted to full training (*: the best by validation; scores in %)", *marked])
