"""Paper 1's practical rules (arXiv 2602.04998) tested on any cells, each with its number and interval.

Curves of different models, tasks and variants are not one sample, so nothing is fitted across them: each group of curves that
differ in one axis alone gives one number, and the interval is the bootstrap's over groups.
"""

from __future__ import annotations

import logging
import math
import re
from statistics import fmean
from typing import TYPE_CHECKING, Any, NamedTuple

from analysis.bests import DURATION, bests
from analysis.correlation import LEVEL, RESAMPLES, SEED, Estimate
from analysis.options import SETTING
from analysis.stats import grouped, seed_means

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

log = logging.getLogger(__name__)

OPTION = re.compile(r"(?:^|, )([\w.]+=(?!unset)[\w.+-]+)(?=,|$)")
"""One option of a variant's name, `alpha=16`."""

LEAST = 3
"""Fewer groups have no interval."""


class Finding(NamedTuple):
    """One number of one rule.

    Attributes:
        rule: what it is about.
        what: the number's name and unit.
        estimate: the mean over groups with the bootstrap's interval; NaN where there is no group.
        groups: how many.
        expected: what the rule says.
    """

    rule: str
    what: str
    estimate: Estimate
    groups: int
    expected: str


def findings(frame: pd.DataFrame, blocks: pd.DataFrame | None = None) -> list[Finding]:
    """Tuning gains, batch size, λmax, rank, duration; a rule that these cells cannot tell has no groups.

    Args:
        frame: cells.
        blocks: of `analysis.blocks.load_blocks`, for the rule of λmax.
    """
    best = bests(frame, over=())
    best = best[best["mean"] > 0]  # where nothing is learned no learning rate is best
    gains = tuning_gains(frame)
    found = [
        _finding("tune lr first", "points lost at a random lr tried, batch size at its best", [100 * a for a, _ in gains],
                 "more than of a random batch size"),
        _finding("tune lr first", "points lost at a random batch size tried, lr at its best", [100 * b for _, b in gains],
                 "little"),
        _finding("tune lr first", "the first less the second", [100 * (a - b) for a, b in gains], "above 0"),
        _finding("lr grows with batch size", "exponent of best lr over batch size", exponents(best, "batch_size"),
                 "0.5 (square root) to 1"),
        _sharpness(frame, blocks),
        _finding("rank", "exponent of best lr over rank", exponents(best, "rank"), "below 0"),
        _finding("rank", "points of the peak with each doubling of the rank", changes(best, "rank"), "small, above 0"),
    ]  # fmt: skip
    trained = best.assign(duration=best["train_samples"].astype(float) * best["epochs"]).dropna(subset=["duration"])
    found += [
        _finding("duration", "exponent of best lr over samples × epochs", exponents(trained, "duration"), "about 0"),
        _finding("duration", "points of the peak with each doubling", changes(trained, "duration"), "above 0"),
    ]
    return found


def _sharpness(frame: pd.DataFrame, blocks: pd.DataFrame | None) -> Finding:
    """The slopes of `analysis.sharpness.compare`; that of a single comparison has Student's t interval over its variants."""
    from analysis.errors import AnalysisError
    from analysis.sharpness import compare

    slopes: list[Estimate] = []
    try:
        slopes = [] if blocks is None else [one.slope_alike for one in compare(frame, blocks)]
    except AnalysisError as error:
        log.warning("no rule of λmax: %s", error)
    slopes = [one for one in slopes if not math.isnan(one.value)]
    found = _finding(
        "lr falls with sharpness", "exponent of best lr over λmax", [one.value for one in slopes], "-1 (lr ∝ 1/λmax)"
    )
    return found._replace(estimate=slopes[0]) if len(slopes) == 1 else found


def tuning_gains(frame: pd.DataFrame) -> list[tuple[float, float]]:
    """For each variant and setting with several batch sizes: what is lost at a random learning rate, and batch size.

    With P the best mean score of all, P − mean over the learning rates tried of the best over batch sizes; and the same the
    other way round. Only learning rates that every batch size has count; both hang on the span of the grid.
    """
    keys = [key for key in SETTING if key != "batch_size"]
    found = []
    for cells in grouped(seed_means(frame), [*keys, "variant"]):
        scores = {(cell["lr"], cell["batch_size"]): cell["test_mean"] for cell in cells}
        batches = {batch for _, batch in scores}
        lrs = [lr for lr in {lr for lr, _ in scores} if all((lr, batch) in scores for batch in batches)]
        if min(len(lrs), len(batches)) > 1:
            of_lrs = [max(scores[lr, batch] for batch in batches) for lr in lrs]
            of_batches = [max(scores[lr, batch] for lr in lrs) for batch in batches]
            found.append((max(of_lrs) - fmean(of_lrs), max(of_batches) - fmean(of_batches)))
    return found


def exponents(best: pd.DataFrame, axis: str) -> list[float]:
    """Slope of log best lr over log `axis` in each group of curves that differ in it alone.

    A best learning rate at the edge of those tried says only on which side the true one is; its curve is left out.
    """
    import numpy as np

    inside = best[best["edge"] == ""]
    return [float(np.polyfit(np.log(one[axis].astype(float)), np.log(one["lr"]), 1)[0]) for one in _groups(inside, axis)]


def changes(best: pd.DataFrame, axis: str) -> list[float]:
    """Points by which the peak changes when `axis` doubles, by least squares, in each group."""
    import numpy as np

    return [float(100 * np.polyfit(np.log2(one[axis].astype(float)), one["mean"], 1)[0]) for one in _groups(best, axis)]


def _groups(best: pd.DataFrame, axis: str) -> list[pd.DataFrame]:
    apart = DURATION if axis == "duration" else [axis]
    keys = [key for key in SETTING if key not in apart]
    several = best.groupby([*keys, "variant"], dropna=False)[axis].transform("nunique") > 1
    return [one for _, one in best[several].groupby([*keys, "variant"], dropna=False)]


def _finding(rule: str, what: str, values: Sequence[float], expected: str) -> Finding:
    import numpy as np

    if not values:
        return Finding(rule, what, Estimate(math.nan, math.nan, math.nan), 0, expected)
    mean, low, high = float(np.mean(values)), math.nan, math.nan
    if len(values) >= LEAST:
        drawn = np.random.default_rng(SEED).choice(np.asarray(values), (RESAMPLES, len(values))).mean(axis=1)
        low, high = (float(end) for end in np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]))
    return Finding(rule, what, Estimate(mean, low, high), len(values), expected)


def suggested(frame: pd.DataFrame, step: float = math.sqrt(math.sqrt(10))) -> list[tuple[str, list[float], str]]:
    """A next sweep's learning rates for each variant and task: two steps to each side of the best there is.

    Returns:
        Title (model and task), for each variant its learning rates and the overrides of a command. The batch size and the rank
        are those of the variant's best cell; where that is at the edge of what was tried, two more steps reach beyond it.
    """
    from analysis.labels import format_lr
    from analysis.palette import in_order

    best, found = bests(frame, over=("batch_size", "rank")), []
    for (model, task), cells in best.groupby(["model", "task"]):
        rows = cells.sort_values("mean").drop_duplicates("variant", keep="last").set_index("variant")
        for variant in in_order(rows.index):
            row: Any = rows.loc[variant]
            low, high = (-4 if row["edge"] in ("low", "both") else -2), (4 if row["edge"] in ("high", "both") else 2)
            lrs = [float(row["lr"]) * step**i for i in range(low, high + 1)]
            overrides = (
                f"model={model} task={task} variant={variant.split()[0]} rank={row['rank']} batch_size={row['batch_size']}"
            )
            line = f"{overrides} lr={','.join(map(format_lr, lrs))}{_further(row, variant)}"
            found.append((f"{model} · {task}", lrs, line))
    return found


def _further(row: Any, variant: str) -> str:
    """Overrides of what else the best cell was trained with, as far as one word says it."""
    import pandas as pd

    parts = [f"variant.{option}" for option in OPTION.findall(variant.partition(" ")[2])]
    parts += [] if pd.isna(row["train_samples"]) else [f"train_samples={row['train_samples']}"]
    parts += [] if row["epochs"] == 1 else [f"epochs={row['epochs']:g}"]
    parts += ["model.weights=random"] if row["weights"] == "random" else []
    return "".join(f" {part}" for part in parts)


def text(found: Sequence[Finding], next_sweep: Sequence[tuple[str, list[float], str]]) -> str:
    """A table of the findings, and below it the next sweep's overrides."""
    from analysis.rendering import Block, render

    rows, remarks = [], []
    for one in found:
        value, low, high = one.estimate
        told = "-" if math.isnan(value) else f"{value:.2f}" + ("" if math.isnan(low) else f" [{low:.2f}, {high:.2f}]")
        rows.append([one.rule, one.what, told, str(one.groups), one.expected])
    header = ["rule", "number", f"mean [{LEVEL:.0%}]", "groups", "the rule says"]
    copied = []
    for title in dict.fromkeys(title for title, _, _ in next_sweep):
        copied += [f"# {title}", *(f"python -m lorabench -m {line}" for other, _, line in next_sweep if other == title)]
    if any("λmax" in one.what and not one.groups for one in found):
        remarks.append("λmax needs records of python -m hessian for the same model and task: --hessian FOLDER.")
    notes = [
        "groups: curves of one variant and setting that differ in that axis alone; the interval is the bootstrap's over them. "
        "Variants of one setting share its data, so for new models and tasks it is too narrow. Curves whose best learning rate "
        "is at the edge of those tried have no exponent.",
        "Below: a next sweep, around the best learning rate of each variant, by factors of 10^(1/4).",
    ]
    return render([Block("Rules of practice", "arXiv 2602.04998", header, "<<>><", rows, remarks, copied)], notes, "text")
