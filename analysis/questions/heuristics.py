"""Paper 1's practical rules (arXiv 2602.04998) tested on any cells, each with its number and interval.

Curves of different models, tasks and variants are not one sample, so nothing is fitted across them: each group of curves that
differ in one axis alone gives one number. Numbers of one model and task share its data, and the interval takes them for one
cluster (`stats.clusters`).
"""

import math
from collections.abc import Callable, Sequence
from statistics import fmean
from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis.errors import AnalysisError
from analysis.questions.sharpness import compare
from analysis.questions.suggestions import Suggestion
from analysis.read.options import SETTING
from analysis.stats import LEVEL, clusters
from analysis.stats.bests import bests
from analysis.stats.clusters import LEAST, Member
from analysis.stats.curves import group_rows, seed_means
from analysis.stats.student import Estimate
from analysis.style.rendering import Block, render

NAMES = {"batch_size": "batch size", "rank": "rank", "train_samples": "samples", "epochs": "epochs"}

ALIKE = "no two curves differ in that axis alone, by known numbers"
AT_EDGE = "curves differ in that axis, but not two of them with a best learning rate inside of those tried"
UNCROSSED = "no variant was run with the same two learning rates at two batch sizes"
UNMEASURED = "it needs records of python -m hessian for the same model and task (--hessian FOLDER)"
"""Why a rule has no number."""


class Finding(NamedTuple):
    """One number of one rule.

    Attributes:
        rule: what it is about.
        what: the number's name and unit.
        estimate: the mean over groups with its interval (`stats.clusters.mean`); NaN where there is no group.
        groups: how many.
        tasks: how many models and tasks they are of.
        expected: what the rule says.
        reason: why there is no group, "" where there is one.
    """

    rule: str
    what: str
    estimate: Estimate
    groups: int
    tasks: int
    expected: str
    reason: str


def findings(frame: pd.DataFrame, blocks: pd.DataFrame | None = None, unread: str = "") -> list[Finding]:
    """Tuning gains, batch size, λmax, rank, samples, epochs; a rule that these cells cannot tell has no groups.

    Args:
        frame: cells.
        blocks: of `read.blocks.load_blocks`, for the rule of λmax.
        unread: why there are no blocks, where there should be.
    """
    best = bests(frame, over=())
    best = best[best["mean"] > 0]  # where nothing is learned no learning rate is best
    gains = tuning_gains(frame)
    return [
        _finding("tune lr first", "points lost at a random lr tried, batch size at its best", _points(gains, lambda a, b: a),
                 "more than of a random batch size", UNCROSSED),
        _finding("tune lr first", "points lost at a random batch size tried, lr at its best", _points(gains, lambda a, b: b),
                 "little", UNCROSSED),
        _finding("tune lr first", "the first less the second", _points(gains, lambda a, b: a - b), "above 0", UNCROSSED),
        _exponent("lr grows with batch size", best, "batch_size", "0.5 (square root) to 1"),
        _sharpness(frame, blocks, unread),
        _exponent("rank", best, "rank", "below 0"),
        _change("rank", best, "rank", "small, above 0"),
        _exponent("duration", best, "train_samples", "about 0"),
        _change("duration", best, "train_samples", "above 0"),
        _exponent("duration", best, "epochs", "about 0"),
        _change("duration", best, "epochs", "above 0"),
    ]  # fmt: skip


def _sharpness(frame: pd.DataFrame, blocks: pd.DataFrame | None, unread: str) -> Finding:
    """The slopes of `questions.sharpness.compare`; that of a single comparison has Student's t interval over its variants."""
    compared, reason = [], unread or UNMEASURED
    if blocks is not None:
        try:
            compared, reason = compare(frame, blocks), "a slope needs three variants with different λmax"
        except AnalysisError as error:
            reason = str(error)
    compared = [comparison for comparison in compared if not math.isnan(comparison.slope_alike.value)]
    slopes = [Member(comparison.title, comparison.slope_alike.value) for comparison in compared]
    finding = _finding("lr falls with sharpness", "exponent of best lr over λmax", slopes, "-1 (lr ∝ 1/λmax)", reason)
    return finding._replace(estimate=compared[0].slope_alike) if len(compared) == 1 else finding


def tuning_gains(frame: pd.DataFrame) -> list[tuple[tuple[str, str], float, float]]:
    """For each variant and setting with several batch sizes: what is lost at a random learning rate, and batch size.

    With P the best mean score of all, P − mean over the learning rates tried of the best over batch sizes; and the same the
    other way round. Only learning rates that every batch size has count; both hang on the span of the grid.

    Returns:
        Model and task, and the two, fractions.
    """
    keys = [key for key in SETTING if key != "batch_size"]
    gains = []
    for cells in group_rows(seed_means(frame), [*keys, "variant", "unwritten"]):
        scores = {(cell["lr"], cell["batch_size"]): cell["test_mean"] for cell in cells}
        batches = {batch for _, batch in scores}
        lrs = [lr for lr in {lr for lr, _ in scores} if all((lr, batch) in scores for batch in batches)]
        if min(len(lrs), len(batches)) > 1:
            of_lrs = [max(scores[lr, batch] for batch in batches) for lr in lrs]
            of_batches = [max(scores[lr, batch] for lr in lrs) for batch in batches]
            data = cells[0]["model"], cells[0]["task"]
            gains.append((data, max(of_lrs) - fmean(of_lrs), max(of_batches) - fmean(of_batches)))
    return gains


def _points(gains: Sequence[tuple[tuple[str, str], float, float]], which: Callable[[float, float], float]) -> list[Member]:
    return [Member(data, 100 * which(of_lr, of_batch)) for data, of_lr, of_batch in gains]


def exponents(best: pd.DataFrame, axis: str) -> list[Member]:
    """Slope of log best lr over log `axis` in each group of curves that differ in it alone.

    A best learning rate at the edge of those tried says only on which side the true one is; its curve is left out.
    """
    inside = best[best["edge"] == ""]
    return [
        Member(data, float(np.polyfit(np.log(curves[axis].astype(float)), np.log(curves["lr"]), 1)[0]))
        for data, curves in _groups(inside, axis)
    ]


def changes(best: pd.DataFrame, axis: str) -> list[Member]:
    """Points by which the peak changes when `axis` doubles, by least squares, in each group."""
    return [
        Member(data, float(100 * np.polyfit(np.log2(curves[axis].astype(float)), curves["mean"], 1)[0]))
        for data, curves in _groups(best, axis)
    ]


def _groups(best: pd.DataFrame, axis: str) -> list[tuple[tuple[str, str], pd.DataFrame]]:
    """Curves that differ in the axis alone, with their model and task; how many all samples are is not known.

    Over ranks alpha may change, too: it is often chosen as a multiple of the rank.
    """
    keys = [*(key for key in SETTING if key != axis), "variant", "beside"]
    curves = best[best[axis].gt(0).fillna(False)]
    let = {"alpha"} if axis == "rank" else set()
    curves = curves.assign(beside=curves["unwritten"].map(lambda pairs: tuple(pair for pair in pairs if pair[0] not in let)))
    several = curves.groupby(keys, dropna=False)[axis].transform("nunique") > 1
    groups = [group for _, group in curves[several].groupby(keys, dropna=False)]
    return [((group["model"].iloc[0], group["task"].iloc[0]), group) for group in groups]


def _exponent(rule: str, best: pd.DataFrame, axis: str, expected: str) -> Finding:
    what = f"exponent of best lr over {NAMES[axis]}"
    return _finding(rule, what, exponents(best, axis), expected, AT_EDGE if _groups(best, axis) else ALIKE)


def _change(rule: str, best: pd.DataFrame, axis: str, expected: str) -> Finding:
    return _finding(rule, f"points of the peak with each doubling of the {NAMES[axis]}", changes(best, axis), expected, ALIKE)


def _finding(rule: str, what: str, values: Sequence[Member], expected: str, reason: str) -> Finding:
    tasks = len({member.cluster for member in values})
    return Finding(rule, what, clusters.mean(values), len(values), tasks, expected, "" if values else reason)


def gaps(findings: Sequence[Finding]) -> list[str]:
    """Which rules have no number, and why: a line a reason."""
    reasons = dict.fromkeys(finding.reason for finding in findings if finding.reason)
    named = {reason: dict.fromkeys(finding.what for finding in findings if finding.reason == reason) for reason in reasons}
    return [f"No number for {'; '.join(whats)}: {reason}." for reason, whats in named.items()]


def text(findings: Sequence[Finding], next_sweep: Sequence[Suggestion], about_scores: Sequence[str] = ()) -> str:
    """A table of the findings, and below it the next sweep's commands; `about_scores` are lines of `style.notes`."""
    rows = []
    for finding in findings:
        value, low, high = finding.estimate
        interval = "-" if math.isnan(value) else f"{value:.2f} " + ("[-]" if math.isnan(low) else f"[{low:.2f}, {high:.2f}]")
        rows.append([finding.rule, finding.what, interval, str(finding.groups), str(finding.tasks), finding.expected])
    header = ["rule", "number", f"mean [{LEVEL:.0%}]", "groups", "tasks", "the rule says"]
    copied = []
    for title in dict.fromkeys(suggestion.title for suggestion in next_sweep):
        copied += [f"# {title}", *(f"python -m lorabench -m {s.line}" for s in next_sweep if s.title == title)]
    notes = [
        "groups: for points lost, grids of one variant and setting over learning rates and batch sizes; for λmax, comparisons "
        "of variants; else sets of curves of one variant and setting that differ in that axis alone. tasks: the models and "
        "tasks that they are of. The mean is that of the tasks' means, its interval Student's t for other models and tasks; of "
        "fewer than "
        f"{LEAST} tasks there is none: [-]. λmax of one comparison: over its variants. Curves whose best learning rate "
        "is at the edge of those tried have no exponent.",
        "The commands are a next sweep, by factors of 10^(1/4) around the best learning rate of each variant: by validation "
        "score, or what --select-by names, where there is one, else by test score.",
        *about_scores,
    ]
    return render(
        [Block("Rules of practice", "arXiv 2602.04998", header, "<<>>><", rows, gaps(findings), copied)], notes, "text"
    )
