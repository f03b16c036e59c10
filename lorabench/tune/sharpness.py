"""Learning rates by the sharpness at the start, where measuring it is cheap beside a search."""

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from omegaconf import OmegaConf

from lorabench.cells.cell import Cell
from lorabench.models.devices import resolve_device
from lorabench.models.shapes import linear_shapes
from lorabench.schema import CONF
from lorabench.tune.processes import run
from lorabench.tune.question import number
from lorabench.tune.rates import STEPS, shifted

SAMPLES = 16
"""Training samples: few, for what counts is on which step of the learning rates the root of a ratio lies."""

MOST_WEIGHTS = {"cpu": 5e6, "cuda": 2e9}
"""Weights of linear layers up to which it is measured: a minute for the embedded model on a core, a GPU by its operations."""

MOST_SHIFT = 4
"""Steps: a decade, the most by which a best learning rate of PiSSA was below LoRA's in paper 1."""


def others(cell: Cell, variants: Iterable[str]) -> list[str]:
    """Those of the variants whose start is not LoRA's (paper 1's, conf/hessian.yaml), where that is cheap to measure."""
    weights = sum(rows * columns for rows, columns in linear_shapes(cell.model).values())
    if weights > MOST_WEIGHTS.get(resolve_device(cell.settings.device).type, 0) or cell.model.quantization:
        return []
    starts = OmegaConf.load(CONF / "hessian.yaml").variants
    return [name for name in variants if name in starts and name != "lora"]


def rates_of(cell: Cell, words: Sequence[str], variants: Sequence[str], rates: Sequence[float], folder: Path) -> list[float]:
    """LoRA's learning rates and those of the others, each by 1/√(λmax / LoRA's λmax), in one list.

    That is AdamW's rule for a start that is a change of scale (``analysis.questions.advice``). The blocks of the middle layer
    stand for all.

    Args:
        cell: of the model and the task.
        words: the user's.
        variants: beside LoRA.
        rates: LoRA's.
        folder: where records and the table go.

    Raises:
        Stopped: it was interrupted, or could not be measured; the reason was printed.
    """
    layers = 1 + max(int(part) for name in linear_shapes(cell.model) for part in name.split(".") if part.isdecimal())
    groups = ("--config-dir", "model", "task", "trainer")
    settings = [
        f"variants=[{','.join(['lora', *variants])}]",
        f"layers={layers // 2}",
        f"rank={cell.settings.rank}",
        f"samples={SAMPLES}",
        f"device={cell.settings.device}",
        f"output_dir={folder / 'hessian'}",  # where a report looks for it
    ]
    run("hessian", [*(word for word in words if word.partition("=")[0].partition(".")[0] in groups), *settings])
    advise = ["advise", str(folder / "hessian"), "--lr", f"{number(min(rates))},{number(max(rates))}"]
    (folder / "sharpness.txt").write_text(run("analysis", advise, kept=True), encoding="utf-8")
    ratios = ratios_of(run("analysis", [*advise, "--format", "csv"], kept=True))
    return sorted({*rates, *(rate for name in variants if name in ratios for rate in shifted(rates, steps(ratios[name])))})


def ratios_of(table: str) -> Mapping[str, float]:
    """The ratio to LoRA's λmax of each variant that has a positive one."""
    rows = csv.DictReader(io.StringIO(table))
    ratios = {row["variant"]: float(row["ratio"] or "nan") for row in rows}
    return {name: ratio for name, ratio in ratios.items() if 0 < ratio < math.inf}


def steps(ratio: float) -> int:
    """Of learning rates, by which the best one moves: a ratio of 100 is a decade down.

    >>> steps(100), steps(1.2), steps(1e9)
    (-4, 0, -4)
    """
    return max(-MOST_SHIFT, min(MOST_SHIFT, round(-STEPS * math.log10(math.sqrt(ratio)))))
