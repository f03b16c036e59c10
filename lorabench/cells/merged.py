"""Whether what ``merged`` gives can stand for what was trained: a weight that it left out would be scored as the base's own."""

import torch

from lorabench.cells.changes import Changes
from lorabench.hooks import fault
from lorabench.variants.base import Variant


def check_merged(variant: Variant, merged: dict[str, torch.Tensor], changes: Changes) -> None:
    """Check merged weights by names, shapes, precision and values.

    Args:
        variant: that made them.
        merged: by their names in the base, those included that no adapter is beside.
        changes: of the base, its adapters still attached.

    Raises:
        OwnFault: a weight is missing, unknown, or cannot take the place of the base's.
    """
    if missing := sorted(changes.adapted - merged.keys()):
        raise fault(variant, "merged", f"lacks {_names(missing)}, which would be scored as the base's own")
    if unknown := sorted(merged.keys() - changes.weights.keys()):
        raise fault(variant, "merged", f"has {_names(unknown)}, which the base has not; name weights as in the base")
    for name, weight in merged.items():
        base = changes.weights[name]
        for what, given, wanted in (("shape", list(weight.shape), list(base.shape)), ("dtype", weight.dtype, base.dtype)):
            if given != wanted:
                raise fault(variant, "merged", f"has {name} of {what} {given}; the base has it of {wanted}")
        if not torch.isfinite(weight).all():
            raise fault(variant, "merged", f"has values in {name} that are not finite")


def _names(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
