"""The main memory that a cell will take, counted before its weights are loaded."""

import torch

from lorabench.cells.cell import Cell
from lorabench.errors import UserError
from lorabench.models.shapes import linear_shapes, weight_bytes
from lorabench.training import memory
from lorabench.variants.full import Full


def main_memory(cell: Cell, device_type: str, dtype: torch.dtype) -> dict[str, int]:
    """Bytes at the most, by what they hold, while the cell is trained or while it is evaluated, whichever holds more.

    The untouched weights that the variant changes are kept, and its merged weights until the next cell; both in main memory
    on every device; merging copies them one by one, so that no moment between has more. A base on a CPU is there, too; in
    training what is trained, its gradients and the optimizer's state, in evaluation what the generator takes. Not counted is
    what does not grow with the model: the process itself, about half a GB, and the activations of a micro-batch.

    Args:
        cell: to be run.
        device_type: ``cpu`` or ``cuda``.
        dtype: of the base.
    """
    sizes = weight_bytes(cell.model, dtype)
    shapes = linear_shapes(cell.model)
    changed = [] if cell.model.quantization else cell.variant.touched(shapes)
    touched = sum(sizes[name] for name in changed if name in sizes)
    dequantised = sum(sizes[f"{name}.weight"] for name in shapes) if cell.model.quantization and cell.mergeable else 0
    total = sum(sizes.values())
    base = {"the base": total} if device_type == "cpu" else {}
    untouched = {"its untouched weights": touched}
    evaluated = (
        base | untouched | {"the merged weights": touched + dequantised} | cell.generator.main_memory(total, device_type)
    )
    if device_type != "cpu":
        return evaluated
    values = 4 * cell.variant.trainable_parameters(shapes)
    beside = 0 if isinstance(cell.variant, Full) and dtype == torch.float32 else values  # which are the base's own
    state = cell.variant.optimizer_bytes(shapes)
    trained = base | untouched | {"trained values": beside, "gradients": values, "the optimizer": state}
    return max(evaluated, trained, key=lambda parts: sum(parts.values()))


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
