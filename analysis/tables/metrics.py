"""Every further metric of the records: test sets, lm-eval's tasks, losses, at each variant's learning rate."""

import math
from statistics import fmean, stdev
from typing import Any

import pandas as pd

from analysis.read.options import SETTING
from analysis.stats.curves import by_setting, peaks, setting_of
from analysis.style.notes import choice
from analysis.style.numbers import format_lr, number
from analysis.style.palette import in_order
from analysis.style.rendering import Best, Block
from analysis.style.settings import hyperparameters, model_and_task

HEADER = ["metric", "variant", "at lr", "value", "seeds", "problems", "untouched base"]
ALIGN = "<<<>>>>"
COLUMNS = ["metric", "lower", "variant", "lr", "chosen", "mean", "std", "n", "missing", "problems", "base", "counting"]
LOWER = "↓"
NOTES = (
    "Values as the records have them (fractions of 1, perplexities, losses), mean ± standard deviation over seeds. "
    f"{LOWER}: less is better. Marked: the best of a metric. Each variant at the learning rate of its {{best}} "
    "(test score, where there is none), whatever the metric: with --metric NAME other tables are of one of these."
)


def frame(cells: pd.DataFrame) -> pd.DataFrame:
    """One row a setting, metric and variant.

    Returns:
        `SETTING`, `metric`, `lower` (whether less is better), `variant`, `lr`, `chosen` (by "validation", what else selects, or
        "test"), `mean`, `std` (NaN of one seed), `n`, `missing` (seeds there without it), `problems` and `base`, both NaN where
        not known, and `counting` (`read.metrics.Metric`).
    """
    rows: list[dict[str, Any]] = []
    scored = cells[cells["status"] != "failed"]
    of_settings = by_setting(scored)
    for key, best in by_setting(peaks(scored)).items():
        for peak in best:
            kind = "peak" if math.isnan(peak["selected_lr"]) else "selected"
            lr, chosen = peak[f"{kind}_lr"], "test" if kind == "peak" else choice(cells).by
            at = [cell for cell in of_settings[key] if (cell["variant"], cell["lr"]) == (peak["variant"], lr)]
            metrics = [cell["metrics"] for cell in at if isinstance(cell.get("metrics"), dict) and cell["status"] == "complete"]
            for name in sorted({name for of_cell in metrics for name in of_cell}):
                values = [of_cell[name] for of_cell in metrics if name in of_cell]
                numbers = [metric.value for metric in values]
                rows.append(
                    {column: peak[column] for column in SETTING}
                    | {"metric": name, "lower": values[0].lower, "variant": peak["variant"], "lr": lr, "chosen": chosen}
                    | {
                        "mean": fmean(numbers),
                        "std": stdev(numbers) if len(numbers) > 1 else math.nan,
                        "n": len(values),
                        "missing": len(at) - len(values),
                    }
                    | {"problems": values[0].problems, "base": values[0].base, "counting": all(m.counting for m in values)}
                )
    return pd.DataFrame(rows, columns=[*SETTING, *COLUMNS])


def blocks(cells: pd.DataFrame) -> tuple[list[Block], list[str]]:
    """One block a setting, its rows grouped by metric."""
    tables = []
    for rows in by_setting(frame(cells)).values():
        setting = setting_of(rows[0])
        lines = []
        for name in sorted({row["metric"] for row in rows}):
            of_metric = {row["variant"]: row for row in rows if row["metric"] == name}
            lower = any(row["lower"] for row in of_metric.values())
            best = (min if lower else max)([row["mean"] for row in of_metric.values() if not row["counting"]], default=None)
            lines += [
                _line(f"{name} {LOWER}" if lower else name, of_metric[variant], of_metric[variant]["mean"] == best)
                for variant in in_order(of_metric)
            ]
        missing = sum(row["missing"] for row in rows)
        remarks = (
            [f"Metrics that a seed lacks or, diverged, has not: {missing}; the means are of the others."] if missing else []
        )
        tables.append(Block(model_and_task(setting), hyperparameters(setting), HEADER, ALIGN, lines, remarks))
    return tables, [NOTES.format(best=choice(cells).best)] if tables else ["No record has a metric beside its scores."]


def _line(name: str, row: dict[str, Any], best: bool) -> list[str]:
    write = number if row["counting"] else _write_value
    value = write(row["mean"]) + ("" if math.isnan(row["std"]) else f" ± {write(row['std'])}")
    problems = "-" if math.isnan(row["problems"]) else f"{row['problems']:.0f}"
    base = "-" if math.isnan(row["base"]) else write(row["base"])
    return [name, row["variant"], format_lr(row["lr"]), Best(value) if best else value, str(row["n"]), problems, base]


def _write_value(value: float) -> str:
    """Four decimals below 10, else five digits."""
    return f"{value:.4f}" if abs(value) < 10 else f"{value:.5g}"
