"""Does λmax tell the best learning rate? A sweep's best learning rates over the sharpness that `python -m hessian` measured."""

import logging
import math
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from analysis.errors import AnalysisError
from analysis.read import REFERENCE
from analysis.read.block import JOINT
from analysis.read.blocks import block_settings
from analysis.stats import LEVEL
from analysis.stats.correlation import EXACT, RankCorrelation, rank_correlation, slope
from analysis.stats.curves import edge, learning_rates, peaks, seed_means, settings
from analysis.stats.student import Estimate
from analysis.style.notes import ON_VALIDATION, Choice, choice
from analysis.style.numbers import format_estimate, format_lr, number
from analysis.style.palette import in_order
from analysis.style.rendering import Block, render
from analysis.style.settings import block_hyperparameters, hyperparameters, model_and_task

log = logging.getLogger(__name__)

MATCH = ("model", "weights", "task", "rank")
"""Columns that a setting of the sweep and one of the blocks must have in common, besides the `fingerprint` of the weights."""

HEADER = ["variant", "median λmax", "of LoRA's", "best lr", "of LoRA's", "edge"]
NOTES = (
    "best lr: that of the {best}, averaged over seeds; as exact as the learning rates tried are dense. edge: "
    "it is the lowest or highest tried, so the true one may lie outside.",
    "median λmax: over the blocks (one a matrix and layer) that all variants of the table share, at the start.",
    f"[ ]: {LEVEL:.0%}; of the rank correlation the bootstrap's over variants, of the slope Student's t. Variants are few and "
    "no random sample: take both as rough.",
)


class Comparison(NamedTuple):
    """One setting of a sweep beside one of the blocks.

    Attributes:
        title: model and task.
        subtitle: what else sets the sweep apart.
        measured: of which blocks λmax is.
        points: a row a variant, in order: `sharpness`, the median λmax; `lr`, the best; `edge`, "low", "high", "both" or "".
        rank: Spearman's correlation of the two.
        slope: of log lr over log λmax.
        unlike: variants whose λmax or learning rate is of another kind: of other parameters than LoRA's, of another optimiser,
            or of parameter groups with rates of their own.
        rank_alike: `rank` without them.
        slope_alike: `slope` without them.
        remarks: what was left out.
        chosen: by what a best learning rate is.
    """

    title: str
    subtitle: str
    measured: str
    points: pd.DataFrame
    rank: RankCorrelation
    slope: Estimate
    unlike: list[str]
    rank_alike: RankCorrelation
    slope_alike: Estimate
    remarks: list[str]
    chosen: Choice = ON_VALIDATION


def compare(cells: pd.DataFrame, blocks: pd.DataFrame) -> list[Comparison]:
    """Every pair of settings with the same `MATCH`.

    Args:
        cells: a sweep, of `read.load.load_records`.
        blocks: of `read.blocks.load_blocks`; those of trained weights and of many matrices at once are not used.

    Raises:
        AnalysisError: if no pair has two variants with a best learning rate and a positive λmax at common blocks.
    """
    start = blocks[blocks["checkpoint"].isna() & (blocks["layer"] != JOINT)]
    comparisons: list[Comparison] = []
    dropped: list[str] = []
    for setting, of_setting in settings(cells):
        for of_blocks, measured in block_settings(start):
            files = {*of_setting["fingerprint"], *measured["fingerprint"]}
            if all(setting[key] == of_blocks[key] for key in MATCH) and len(files) == 1:
                comparison = _comparison(setting, of_setting, of_blocks, measured)
                if len(comparison.points) > 1:
                    comparisons.append(comparison._replace(chosen=choice(cells)))
                else:
                    dropped.append(f"{comparison.title} · {comparison.subtitle}: {' '.join(comparison.remarks)}")
    if start.empty:
        raise AnalysisError(
            "no block at the start of training: these records are of checkpoints or of joint blocks; measure single blocks "
            "without hessian.checkpoint"
        )
    for line in dropped if comparisons else ():
        log.warning("not compared, for fewer than two variants are left: %s", line)
    if not comparisons:
        swept, blocked = (_settings(frame) for frame in (cells, start))
        raise AnalysisError(
            "nothing to compare: no model (by name and files), task and rank has two variants with a best learning rate and a "
            "positive λmax in both; "
            f"the sweep has {swept}, the blocks have {blocked}{'. In both: ' * bool(dropped)}{' '.join(dropped)}"
        )
    return comparisons


def _settings(frame: pd.DataFrame) -> str:
    parts = []
    for _, rows in frame.groupby([*MATCH, "fingerprint"]):
        first: dict[str, Any] = {str(key): value for key, value in rows.iloc[0].items()}
        variants = ", ".join(in_order(rows["variant"]))
        parts.append(f"{model_and_task(first)} · rank {first['rank']} · files {first['fingerprint'][-8:]} ({variants})")
    return "; ".join(parts) or "none"


def _comparison(setting: dict[str, Any], cells: pd.DataFrame, of_blocks: dict[str, Any], blocks: pd.DataFrame) -> Comparison:
    means = seed_means(cells)
    # With 0 everywhere the lowest learning rate ties as the best, which it is not.
    scored = means.groupby("variant")["validation_mean"].max() > 0
    best = peaks(cells).set_index("variant")["selected_lr"][scored]
    shared = [name for name in in_order(best.index) if name in set(blocks["variant"])]
    # One column a variant, one row a block that all have; seeds of a block count as one.
    table = blocks[blocks["variant"].isin(shared)].pivot_table("lambda_max", ["matrix", "layer"], "variant", "median").dropna()
    sharpness = table.median() if len(table) else pd.Series(dtype=float)
    used = [name for name in shared if sharpness.get(name, 0) > 0]
    tried = learning_rates(means)
    edges = {v: edge(tried[v].index(best[v]), len(tried[v])) for v in used}
    rows = [{"variant": v, "sharpness": sharpness[v], "lr": best[v], "edge": edges[v]} for v in used]
    points = pd.DataFrame(rows, columns=["variant", "sharpness", "lr", "edge"])
    remarks = []
    if zero := in_order(scored.index[~scored]):
        remarks.append(f"Left out, with a validation score of 0 at every learning rate: {', '.join(zero)}.")
    if apart := in_order({*best.index, *blocks["variant"]} - {*shared, *zero}):
        remarks.append(f"Left out, in the sweep or in the blocks only: {', '.join(apart)}.")
    if lost := [name for name in shared if name not in used]:
        remarks.append(f"Left out, without a positive median λmax at common blocks: {', '.join(lost)}.")
    counted = f"{len(table)} block{'' if len(table) == 1 else 's'}"
    measured = f"λmax: {counted}, {block_hyperparameters(of_blocks).partition(' · ')[2]}"
    general = set(blocks.loc[blocks["general"], "variant"])
    own_step = set(cells.loc[cells["own_step"].eq(True), "variant"]) if "own_step" in cells else set()
    unlike = [name for name in used if name in general or name in own_step]
    if unlike:
        remarks.append(f"Of other parameters than LoRA's, another optimiser or rates of its own groups: {', '.join(unlike)}.")
    title, subtitle = model_and_task(setting), hyperparameters(setting)
    alike = points[~points["variant"].isin(unlike)]
    return Comparison(title, subtitle, measured, points, *_relations(points), unlike, *_relations(alike), remarks)


def _relations(points: pd.DataFrame) -> tuple[RankCorrelation, Estimate]:
    x, y = points["sharpness"].tolist(), points["lr"].tolist()
    return rank_correlation(x, y), slope(np.log(x).tolist(), np.log(y).tolist())


def text(comparisons: list[Comparison]) -> str:
    """A table for each comparison, and below it the correlation and the slope."""
    blocks = []
    for comparison in comparisons:
        lora = comparison.points[comparison.points["variant"] == REFERENCE]
        of_lora = {key: lora[key].iloc[0] if len(lora) else math.nan for key in ("sharpness", "lr")}
        rows = []
        for variant, sharpness, lr, end in comparison.points.itertuples(index=False):
            ratios = number(sharpness / of_lora["sharpness"]), number(lr / of_lora["lr"])
            rows.append([variant, number(sharpness), ratios[0], format_lr(lr), ratios[1], end or "-"])
        subtitle = f"{comparison.subtitle} · {comparison.measured}"
        blocks.append(Block(comparison.title, subtitle, HEADER, "<>>>><", rows, [*results(comparison), *comparison.remarks]))
    best, *others = NOTES
    return render(blocks, [best.format(best=comparisons[0].chosen.best), *others], "text")


def results(comparison: Comparison) -> list[str]:
    """Correlation and slope in words, with and without the variants of another kind."""
    lines = _lines(len(comparison.points), comparison.rank, comparison.slope)
    if comparison.unlike:
        left = len(comparison.points) - len(comparison.unlike)
        lines += [f"Without {', '.join(comparison.unlike)}:", *_lines(left, comparison.rank_alike, comparison.slope_alike)]
    return lines


def _lines(variants: int, rank: RankCorrelation, line: Estimate) -> list[str]:
    if rank.orders == 0:
        return ["No rank correlation: it needs three variants with different λmax and learning rates."]
    orders = f"{'all' if variants <= EXACT else 'random'} {rank.orders:,} orders"
    return [
        f"Spearman's rank correlation of λmax and best lr, {variants} variants: {format_estimate(rank.rho)}, "
        f"p = {rank.p:.2g} ({orders}).",
        f"Slope of log lr over log λmax: {format_estimate(line)}; lr ∝ 1/λ would be -1, "
        "lr ∝ 1/√λ (AdamW, change of scale) -0.5.",
    ]
