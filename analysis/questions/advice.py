"""Which learning rates to try for each variant, from LoRA's known range and the measured sharpness.

With ρ = λmax(variant)/λmax(LoRA), the median over the blocks measured, LoRA's range [a, b] becomes

    lr ∝ 1/λ:   [a/ρ, b/ρ]        lr ∝ 1/√λ:   [a/√ρ, b/√ρ]

and the grid covers both, widened by the interval of ρ: the one over blocks, or the medians of the ends of the blocks'
intervals from the data where it is wider (blocks share their sequences, so this error is common to all). Why both:

* Gradient descent on a quadratic is stable for lr < 2/λmax, and wide networks with a squared loss still train, after a
  "catapult" to flatter ground, up to about 4/λmax (Lewkowycz et al. 2020, arXiv 2003.02218). Whatever the constant, which
  cancels here: lr ∝ 1/λ. Paper 1 (arXiv 2602.04998) explains the best learning rates in this way.
* AdamW is not gradient descent: what counts is the sharpness after preconditioning, and its bound is 38/λmax of that for
  β₁ = 0.9 (Cohen et al. 2022, arXiv 2207.14484). Where two adapters are the same function of c·θ and of θ, the first has c²
  times the λmax, but c times the gradient, by which Adam divides: its best lr falls by c only, lr ∝ 1/√λ. The starts of
  PiSSA, OLoRA and LoRA-GA are larger factors, so this is close to what they do.
* Paper 1's best learning rates on Qwen3-0.6B math are lower than LoRA's by 10 (PiSSA, ρ ≈ 10), 18 (OLoRA and LoRA-GA, ρ up
  to 100), 3.2 and 1.8 (MiLoRA and Init[AB], ρ ≈ 2): for the first three between √ρ and ρ, for the others within a step of its
  grid (1.78) of that. Over its 19 published settings with PiSSA the quotient is 1.8 to 10, its median 3.2.

ρ is that of the start. It knows nothing of what training changes, of another optimiser, or of a layer whose parameters are
not LoRA's; paper 1 leaves those out, and a range for them is a guess.
"""

import math
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from analysis.errors import AnalysisError
from analysis.read import REFERENCE
from analysis.read.block import JOINT
from analysis.read.blocks import block_settings
from analysis.stats.layers import by_layer
from analysis.stats.order_statistics import Median, median
from analysis.style.notes import TUNED_ON_TEST
from analysis.style.numbers import exact_lr, format_lr, number
from analysis.style.palette import in_order
from analysis.style.rendering import Block, render
from analysis.style.settings import block_hyperparameters, model_and_task
from analysis.style.sheets import as_csv

A_DECADE = 4
"""Learning rates: paper 1's grid of 1.1247, 2.0, 3.5566 and 6.3246 times a power of ten, that is 2·10^(j/4)."""

WIDE = 2.0
"""Decades of learning rates from which on a suggested grid says more of the measurement than of the variant."""

HEADER = ["variant", "blocks", "ratio to LoRA", "sharpest", "lr ∝ 1/λ", "lr ∝ 1/√λ"]
RATIOS = ["model", "task", "rank", "variant", "blocks", "ratio", "ratio_low", "ratio_high", "sharpest"]

COLUMNS = ("model", "task", "rank", "batch_size", "variant", "learning_rate", "mean")
"""Of a file of published cells."""

NOTES = (
    "ratio to LoRA: median over the blocks with its [95 % interval], (range) of fewer than 6, or from the median low end to "
    "the median high end of the blocks' intervals from the data where that is wider. sharpest: the ratio of the largest λmax.",
    "lr ∝ 1/λ is gradient descent's rule, lr ∝ 1/√λ what it becomes under AdamW where the start is a change of scale; paper "
    "1's best learning rates lie between, or a step of its grid from there. Both are widened by the interval of the ratio. "
    f"The grid covers both, with {A_DECADE} learning rates a decade and its ends outside: a peak within is not at the edge.",
    "A ratio is that of the start: it knows nothing of another optimiser or of what training changes.",
)


class Advice(NamedTuple):
    """What is known of one variant, and what follows.

    Attributes:
        variant: its name.
        ratio: λmax over LoRA's, median over the blocks.
        blocks: number of blocks with a ratio.
        sharpest: the ratio of the largest λmax of the blocks that both have; NaN where one is not positive.
        direct: learning rates by lr ∝ 1/λ.
        root: learning rates by lr ∝ 1/√λ.
    """

    variant: str
    ratio: Median
    blocks: int
    sharpest: float
    direct: tuple[float, float]
    root: tuple[float, float]

    @property
    def grid(self) -> list[float]:
        """Learning rates over both ranges."""
        return grid(min(self.direct[0], self.root[0]), max(self.direct[1], self.root[1]))


def advice(frame: pd.DataFrame, low: float, high: float) -> list[Advice]:
    """Advice for each variant of one setting of `load_blocks`; LoRA's good learning rates are low to high."""
    blocks = by_layer(frame[frame["layer"] != JOINT]).set_index(["matrix", "layer"])
    lora = blocks.loc[blocks["variant"] == REFERENCE, "lambda_max"]
    advised = []
    for variant in in_order(blocks["variant"]):
        of_variant = blocks[blocks["variant"] == variant]
        ratio, low_end, high_end = (median(of_variant[column].tolist()) for column in ("ratio", "ratio_low", "ratio_high"))
        ratio = ratio._replace(low=min(ratio.low, low_end.value), high=max(ratio.high, high_end.value))
        both = of_variant.index.intersection(lora.index)
        tops = of_variant.loc[both, "lambda_max"].max(), lora[both].max()
        sharpest = tops[0] / tops[1] if min(tops) > 0 else math.nan
        direct = low / ratio.high, high / ratio.low
        root = low / math.sqrt(ratio.high), high / math.sqrt(ratio.low)
        advised.append(Advice(variant, ratio, int(of_variant["ratio"].notna().sum()), sharpest, direct, root))
    return advised


def grid(low: float, high: float) -> list[float]:
    """The learning rates 2·10^(j/4) from the last one not above `low` to the first not below `high`, to five digits."""
    slack = 0.02  # of a step: 1.1247e-3 is meant to be on the grid
    first = math.floor(A_DECADE * math.log10(low / 2) + slack)
    last = math.ceil(A_DECADE * math.log10(high / 2) - slack)
    return [float(f"{2 * 10 ** (j / A_DECADE):.4e}") for j in range(first, max(first, last) + 1)]


def published_quotients(file: Path) -> pd.Series:
    """How many times lower than LoRA's each variant's best learning rate is in a CSV of published cells with `COLUMNS`.

    Returns:
        By variant the list of quotients, one for each model, task, rank and batch size with both.

    Raises:
        AnalysisError: no such file, or not such columns.
    """
    try:
        cells = pd.read_csv(file)
    except (OSError, ValueError) as error:
        raise AnalysisError(f"--published {file} cannot be read as CSV ({' '.join(str(error).split())})") from error
    if missing := [name for name in COLUMNS if name not in cells]:
        raise AnalysisError(f"--published {file} has no column {', '.join(missing)}; needed: {', '.join(COLUMNS)}")
    setting = [*COLUMNS[:4]]
    best = cells.loc[cells.groupby([*setting, "variant"])["mean"].idxmax()].set_index(setting)
    lora = best.loc[best["variant"] == REFERENCE, "learning_rate"].rename("lora")
    both = best.join(lora, how="inner")
    return (both["lora"] / both["learning_rate"]).groupby(both["variant"]).agg(list)


def text(frame: pd.DataFrame, low: float, high: float, quotients: pd.Series | None = None, style: str = "text") -> str:
    """The advice for all settings that hold LoRA at its start, as plain text, with overrides to copy.

    As "csv" it is what was measured alone, a line a setting and variant: `RATIOS`.

    Raises:
        AnalysisError: no setting does.
    """
    blocks: list[Block] = []
    ratios: list[list[object]] = []
    for setting, cells in block_settings(frame[frame["checkpoint"].isna()]):
        lora = cells.loc[(cells["variant"] == REFERENCE) & (cells["layer"] != JOINT), "lambda_max"]
        if len(lora) and lora.median() > 0:
            title, subtitle = model_and_task(setting), block_hyperparameters(setting)
            subtitle += f" · LoRA's learning rates {format_lr(low)}..{format_lr(high)}"
            advised = advice(cells, low, high)
            ratios += [
                [setting["model"], setting["task"], setting["rank"], row.variant, row.blocks, *row.ratio[:3], row.sharpest]
                for row in advised
            ]
            header, rows = [*HEADER], [_cells(row) for row in advised]
            if quotients is not None:
                header.append(f"published ({TUNED_ON_TEST}): LoRA's lr / its lr")
                rows = [[*row, _quotient(quotients.get(row[0], []))] for row in rows]
            lines = [_override(row, setting["rank"]) for row in advised if row.blocks]
            remarks = [_place(low * lora.median(), high * lora.median()), *_remarks(cells, advised)]
            blocks.append(Block(title, subtitle, header, "<" + ">" * (len(header) - 1), rows, remarks, lines))
    if not blocks and (frame["layer"] == JOINT).all():
        raise AnalysisError("these records are of joint blocks, and advice is by single ones: measure them with blocks=each")
    if not blocks:
        raise AnalysisError(
            f"no block of {REFERENCE} at its start with a positive λmax (found: {', '.join(in_order(frame['variant']))}), to "
            "which the others could be compared: measure it with python -m hessian"
        )
    if style == "csv":
        return str(as_csv(pd.DataFrame(ratios, columns=RATIOS)))
    return render(blocks, NOTES, "text")


def _place(low: float, high: float) -> str:
    return (
        f"LoRA's range is {number(low)}/λmax to {number(high)}/λmax of its median block. Gradient descent is stable to 2/λmax "
        "and may catapult up to 4/λmax; AdamW's constant is another, so only ratios are used."
    )


def _remarks(cells: pd.DataFrame, advised: list[Advice]) -> list[str]:
    remarks = []
    if coarse := Counter(cells.loc[~cells["converged"], "variant"]):
        counts = ", ".join(f"{name} {coarse[name]}" for name in in_order(coarse))
        remarks.append(f"Blocks whose λmax did not converge, and may be larger: {counts}; raise hessian.max_iter.")
    joint = cells[(cells["layer"] == JOINT) & (cells["variant"] != REFERENCE)].groupby("variant")["ratio"].median()
    if len(joint):
        ratios = ", ".join(f"{name} {number(joint[name])}" for name in in_order(joint.index))
        remarks.append(f"Ratio to LoRA of many matrices as one block: {ratios}.")
    if general := in_order(cells.loc[cells["general"] & (cells["layer"] != JOINT), "variant"]):
        remarks.append(f"Not LoRA's layers, so that a ratio of λ compares different parameters: {', '.join(general)}.")
    if lost := [row.variant for row in advised if not row.blocks]:
        remarks.append(f"No advice, since there is no ratio of two positive λmax: {', '.join(lost)}.")
    if wide := [row.variant for row in advised if row.blocks and math.log10(row.grid[-1] / row.grid[0]) > WIDE]:
        remarks.append(
            f"Measured too coarsely to save much of a sweep (over {WIDE:g} decades): {', '.join(wide)}; more layers, "
            "matrices or samples narrow their grids."
        )
    return remarks


def _cells(row: Advice) -> list[str]:
    if math.isnan(row.ratio.value):
        return [row.variant, "0", "-", "-", "-", "-"]
    left, right = "[]" if row.ratio.sure else "()"
    ends = f" {left}{number(row.ratio.low)}, {number(row.ratio.high)}{right}" if row.ratio.low != row.ratio.high else ""
    ranges = ["..".join(format_lr(float(f"{end:.1e}")) for end in ends) for ends in (row.direct, row.root)]
    return [row.variant, str(row.blocks), number(row.ratio.value) + ends, number(row.sharpest), *ranges]


def _quotient(quotients: list[float]) -> str:
    """`3.16 (1.78 – 10, n = 19)`: median and range over the published settings."""
    ends = f"{number(min(quotients))} – {number(max(quotients))}" if quotients else ""
    return f"{number(median(quotients).value)} ({ends}, n = {len(quotients)})" if quotients else "-"


def _override(row: Advice, rank: int) -> str:
    """`variant=lora variant.alpha=16 rank=8 lr=…` of the label `lora alpha=16`."""
    name, _, options = row.variant.partition(" ")
    words = [f"variant={name}", *(f"variant.{option}" for option in options.split(", ") if option), f"rank={rank}"]
    return " ".join([*words, f"lr={','.join(map(exact_lr, row.grid))}"])
