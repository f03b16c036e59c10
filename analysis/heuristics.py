"""Paper 1's practical rules (arXiv 2602.04998) tested on any cells, each with its number and interval.

Curves of different models, tasks and variants are not one sample, so nothing is fitted across them: each group of curves that
differ in one axis alone gives one number. Numbers of one model and task share its data, and the interval takes them for one
cluster (`analysis.clusters`).
"""

from __future__ import annotations

import logging
import math
import re
from statistics import fmean
from typing import TYPE_CHECKING, Any, NamedTuple

from analysis import clusters
from analysis.bests import DURATION, bests
from analysis.clusters import Member
from analysis.correlation import LEVEL, Estimate
from analysis.options import SETTING
from analysis.stats import grouped, seed_means

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pandas as pd

log = logging.getLogger(__name__)

OPTION = re.compile(r"(?:^|, )([\w.]+=(?!unset)[\w.+-]+)(?=,|$)")
"""One option of a variant's name, `alpha=16`."""


class Finding(NamedTuple):
    """One number of one rule.

    Attributes:
        rule: what it is about.
        what: the number's name and unit.
        estimate: the mean over groups with its interval (`analysis.clusters.mean`); NaN where there is no group.
        groups: how many.
        tasks: how many models and tasks they are of.
        expected: what the rule says.
    """

    rule: str
    what: str
    estimate: Estimate
    groups: int
    tasks: int
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
        _finding("tune lr first", "points lost at a random lr tried, batch size at its best", _points(gains, lambda a, b: a),
                 "more than of a random batch size"),
        _finding("tune lr first", "points lost at a random batch size tried, lr at its best", _points(gains, lambda a, b: b),
                 "little"),
        _finding("tune lr first", "the first less the second", _points(gains, lambda a, b: a - b), "above 0"),
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

    compared = []
    try:
        compared = [] if blocks is None else compare(frame, blocks)
    except AnalysisError as error:
        log.warning("no rule of λmax: %s", error)
    compared = [one for one in compared if not math.isnan(one.slope_alike.value)]
    slopes = [Member(one.title, one.slope_alike.value) for one in compared]
    found = _finding("lr falls with sharpness", "exponent of best lr over λmax", slopes, "-1 (lr ∝ 1/λmax)")
    return found._replace(estimate=compared[0].slope_alike) if len(compared) == 1 else found


def tuning_gains(frame: pd.DataFrame) -> list[tuple[tuple[str, str], float, float]]:
    """For each variant and setting with several batch sizes: what is lost at a random learning rate, and batch size.

    With P the best mean score of all, P − mean over the learning rates tried of the best over batch sizes; and the same the
    other way round. Only learning rates that every batch size has count; both hang on the span of the grid.

    Returns:
        Model and task, and the two, fractions.
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
            data = cells[0]["model"], cells[0]["task"]
            found.append((data, max(of_lrs) - fmean(of_lrs), max(of_batches) - fmean(of_batches)))
    return found


def _points(gains: Sequence[tuple[tuple[str, str], float, float]], which: Callable[[float, float], float]) -> list[Member]:
    return [Member(data, 100 * which(of_lr, of_batch)) for data, of_lr, of_batch in gains]


def exponents(best: pd.DataFrame, axis: str) -> list[Member]:
    """Slope of log best lr over log `axis` in each group of curves that differ in it alone.

    A best learning rate at the edge of those tried says only on which side the true one is; its curve is left out.
    """
    import numpy as np

    inside = best[best["edge"] == ""]
    return [
        Member(data, float(np.polyfit(np.log(one[axis].astype(float)), np.log(one["lr"]), 1)[0]))
        for data, one in _groups(inside, axis)
    ]


def changes(best: pd.DataFrame, axis: str) -> list[Member]:
    """Points by which the peak changes when `axis` doubles, by least squares, in each group."""
    import numpy as np

    return [
        Member(data, float(100 * np.polyfit(np.log2(one[axis].astype(float)), one["mean"], 1)[0]))
        for data, one in _groups(best, axis)
    ]


def _groups(best: pd.DataFrame, axis: str) -> list[tuple[tuple[str, str], pd.DataFrame]]:
    """Curves that differ in the axis alone, with their model and task."""
    apart = DURATION if axis == "duration" else [axis]
    keys = [key for key in SETTING if key not in apart]
    several = best.groupby([*keys, "variant"], dropna=False)[axis].transform("nunique") > 1
    groups = [one for _, one in best[several].groupby([*keys, "variant"], dropna=False)]
    return [((one["model"].iloc[0], one["task"].iloc[0]), one) for one in groups]


def _finding(rule: str, what: str, values: Sequence[Member], expected: str) -> Finding:
    return Finding(rule, what, clusters.mean(values), len(values), len({one.cluster for one in values}), expected)


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
        rows.append([one.rule, one.what, told, str(one.groups), str(one.tasks), one.expected])
    header = ["rule", "number", f"mean [{LEVEL:.0%}]", "groups", "tasks", "the rule says"]
    copied = []
    for title in dict.fromkeys(title for title, _, _ in next_sweep):
        copied += [f"# {title}", *(f"python -m lorabench -m {line}" for other, _, line in next_sweep if other == title)]
    if any("λmax" in one.what and not one.groups for one in found):
        remarks.append("λmax needs records of python -m hessian for the same model and task: --hessian FOLDER.")
    notes = [
        "groups: curves of one variant and setting that differ in that axis alone; tasks: the models and tasks that they are "
        f"of. From {clusters.LEAST} tasks on the interval is for other models and tasks (cluster-robust, Student's t); of "
        "fewer it is the bootstrap's over groups and holds for these alone. Curves whose best learning rate is at the edge of "
        "those tried have no exponent.",
        "Below: a next sweep, around the best learning rate of each variant, by factors of 10^(1/4).",
    ]
    return render([Block("Rules of practice", "arXiv 2602.04998", header, "<<>>><", rows, remarks, copied)], notes, "text")
