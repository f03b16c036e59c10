"""The main memory that a cell will take, counted before its weights are loaded."""

import torch

from lorabench.cells.cell import Cell
from lorabench.errors import UserError
from lorabench.models.shapes import linear_shapes, weight_bytes
from lorabench.training import memory


def main_memory(cell: Cell, device_type: str, dtype: torch.dtype) -> dict[str, int]:
    """Bytes at the most, by what they hold, while the cell is evaluated: the moment at which the most is held at once.

    The untouched weights that the variant changes are kept, and its merged weights until the next cell; both in main memory
    on every device; merging copies them one by one, so that no moment before has more. A base on a CPU is there, too, and what
    the generator takes. Not counted is what does not grow with the model: the process itself, about half a GB.

    Args:
        cell: to be run.
        device_type: ``cpu`` or ``cuda``.
        dtype: of the base.
    """
    sizes = weight_bytes(cell.model, dtype)
    changed = [] if cell.model.quantization else cell.variant.touched(linear_shapes(cell.model))
    touched = sum(sizes[name] for name in changed if name in sizes)
    total = sum(sizes.values())
    base = {"the base": total} if device_type == "cpu" else {}
    copies = {"its untouched weights": touched, "the merged weights": touched}
    return base | copies | cell.generator.main_memory(total, device_type)


def check_main_memory(cell: Cell, device_type: str, dtype: torch.dtype, available: int | None = None) -> None:
    """Raise UserError where that is more than there is (``available`` bytes, the machine's by default)."""
    parts, available = main_memory(cell, device_type, dtype), memory.machine() if available is None else available
    if sum(parts.values()) > available:
        raise UserError(
            f"model={cell.model.name} needs {as_text(parts)}, and this machine has {available / 1e9:.3g}; adapt fewer matrices "
            "(variant.target_modules), use evaluator=hf, a smaller model, or a machine with more"
        )


def as_text(parts: dict[str, int]) -> str:
    """Total and parts in GB."""
    each = ", ".join(f"{what} {size / 1e9:.3g}" for what, size in parts.items())
    return f"{sum(parts.values()) / 1e9:.3g} GB of main memory ({each})"
