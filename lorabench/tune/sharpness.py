"""Learning rates by the sharpness at the start, where measuring it is cheap beside a search."""

from collections.abc import Sequence
from pathlib import Path

import torch

from lorabench.cells.cell import Cell
from lorabench.models.devices import resolve_device
from lorabench.models.shapes import linear_shapes
from lorabench.tune.processes import run
from lorabench.tune.question import number

SAMPLES = 16
"""Training samples; the ratio to LoRA of the embedded model is then known to about a tenth in its logarithm."""

MOST_WEIGHTS = {"cpu": 5e6, "cuda": 2e9}
"""Weights of linear layers up to which a layer's blocks take about a minute (ours; measured on the embedded model alone)."""


def is_cheap(cell: Cell) -> bool:
    """Whether λmax of one layer is measured in about a minute."""
    weights = sum(rows * columns for rows, columns in linear_shapes(cell.model).values())
    return weights <= MOST_WEIGHTS.get(_device(cell).type, 0) and not cell.model.quantization


def _device(cell: Cell) -> torch.device:
    return resolve_device(cell.settings.device)


def shifted(cell: Cell, words: Sequence[str], variants: Sequence[str], rates: Sequence[float], folder: Path) -> list[float]:
    """Learning rates of LoRA and of the others by lr ∝ 1/λ and 1/√λ (``python -m analysis advise``), all in one list.

    The middle layer's blocks stand for all.

    Args:
        cell: of the model and the task.
        words: the user's.
        variants: LoRA and others.
        rates: LoRA's.
        folder: where records and the table go.

    Raises:
        Stopped: it was interrupted, or a variant has no such blocks; what is wrong was printed.
    """
    layers = 1 + max(int(part) for name in linear_shapes(cell.model) for part in name.split(".") if part.isdecimal())
    own = [
        word for word in words if word.startswith("--") or word.partition("=")[0].split(".")[0] in ("model", "task", "trainer")
    ]
    measured = folder / "hessian"  # where a report looks for it
    run(
        "hessian",
        [
            *own,
            f"variants=[{','.join(variants)}]",
            f"layers={layers // 2}",
            f"rank={cell.settings.rank}",
            f"samples={SAMPLES}",
            f"device={cell.settings.device}",
            f"output_dir={measured}",
        ],
    )
    span = f"{number(min(rates))},{number(max(rates))}"
    table = run("analysis", ["advise", str(measured), "--lr", span], kept=True)
    (folder / "sharpness.txt").write_text(table, encoding="utf-8")
    return sorted({*rates, *_rates(table)})


def _rates(table: str) -> list[float]:
    """Of the lines that are overrides: ``variant=pissa rank=8 lr=1e-4,2e-4``."""
    lines = [line.strip() for line in table.splitlines() if line.strip().startswith("variant=")]
    return [float(lr) for line in lines for lr in line.rpartition("lr=")[2].split(",")]
