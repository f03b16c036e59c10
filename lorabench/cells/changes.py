"""Which weights of the base a variant changes: what it does not declare is refused, what it changes is merged and saved."""

from collections.abc import Iterable, Mapping

import torch

from lorabench.errors import UserError
from lorabench.hooks import fault
from lorabench.models.base import bit_sum
from lorabench.models.quantised import quantised_layers
from lorabench.models.shapes import matrix
from lorabench.variants.base import Adapted, Variant, adapter_layers, base_of, base_parameters


def bit_sums(weights: Mapping[str, torch.Tensor]) -> dict[str, int]:
    """``bit_sum`` of each weight."""
    return {name: bit_sum(weight) for name, weight in weights.items()}


class Changes:
    """Follows the base's weights from before ``attach`` to the end of training.

    Args:
        variant: what is attached.
        adapted: the model with it.
        declared: names that its ``touched`` gave.
        before: ``bit_sums`` of the base's weights before ``attach``.

    Attributes:
        weights: the base's weights in the adapted model, by their names in the untouched base.
        forms: shape and dtype of each when it is merged, which of a quantised one are not its own.
        declared: those of them that may change.
        adapted: names of those that adapters are beside; where there is no adapter layer of PEFT, of those that may change.

    Raises:
        UserError: a weight that is not declared is changed or trained, or other matrices are adapted than ``targets`` names.
    """

    def __init__(self, variant: Variant, adapted: Adapted, declared: Iterable[str], before: Mapping[str, int]):
        self._variant, self._declared_names, self._before = variant, set(declared), before
        named = base_parameters(adapted, dict(adapted.named_parameters()))
        self.weights = {name: weight for name, weight in named.items() if name in before}
        self.declared = {name: weight for name, weight in self.weights.items() if name in self._declared_names}
        self.forms = {name: (list(weight.shape), weight.dtype) for name, weight in self.weights.items()}
        for name, layer in quantised_layers(base_of(adapted)).items():  # merged, they are plain
            self.forms[f"{name.removesuffix('.base_layer')}.weight"] = list(matrix(layer).shape), layer.plain_dtype
        self._matrices = {f"{name}.weight" for name, _ in adapter_layers(adapted)} & before.keys()
        self.adapted = self._matrices or set(self.declared)
        self._start = bit_sums(self.weights)
        trained = base_parameters(adapted, variant.trained(adapted)).keys() & before.keys()
        self._refuse(trained - self._declared_names, "trains")
        self._refuse(self._differing(before), "changes")
        targets = {f"{name}.weight" for name in variant.targets(name.removesuffix(".weight") for name in before)}
        if self._matrices and self._matrices != targets & before.keys():
            odd = sorted(self._matrices ^ (targets & before.keys()))[0]
            raise UserError(f"variant={variant.name}: its targets() and the layers that it adapts differ, as in {odd}")

    def outside_adapters(self) -> dict[str, torch.Tensor]:
        """What an adapter's file does not hold: weights that training moved, and changed ones that no adapter is beside.

        A variant that ``merges_while_training`` says that its file holds what training moved of the adapted matrices.

        Raises:
            UserError: a weight is among them that was not declared.
        """
        moved = self._differing(self._start)
        self._refuse(moved, "changes")
        if self._variant.merges_while_training:
            moved -= self._matrices
        changed = self._differing(self._before)
        return {name: self.weights[name] for name in sorted(moved | (changed - self._matrices))}

    def _differing(self, sums: Mapping[str, int]) -> set[str]:
        now = bit_sums(self.weights)
        return {name for name, total in now.items() if sums.get(name) != total}

    def _refuse(self, names: Iterable[str], verb: str) -> None:
        for name in sorted(set(names) - self._declared_names):
            raise UserError(f"variant={self._variant.name} {verb} {name} of the base, which its touched() does not name")


def check_merged(variant: Variant, merged: dict[str, torch.Tensor], changes: Changes) -> None:
    """Check merged weights by names, shapes, precision and values: one that is left out would be scored as the base's own.

    Args:
        variant: that made them.
        merged: by their names in the base, those included that no adapter is beside.
        changes: of the base, its adapters still attached.

    Raises:
        OwnFault: a weight is missing, unknown, or cannot take the place of the base's.
    """
    if missing := sorted(changes.adapted - merged.keys()):
        raise fault(variant, "merged", f"lacks {_first_of(missing)}, which would be scored as the base's own")
    if unknown := sorted(merged.keys() - changes.weights.keys()):
        raise fault(variant, "merged", f"has {_first_of(unknown)}, which the base has not; name weights as in the base")
    for name, weight in merged.items():
        shape, dtype = changes.forms[name]
        for what, given, wanted in (("shape", list(weight.shape), shape), ("dtype", weight.dtype, dtype)):
            if given != wanted:
                raise fault(variant, "merged", f"has {name} of {what} {given}; the base has it of {wanted}")
        if not torch.isfinite(weight).all():
            raise fault(variant, "merged", f"has values in {name} that are not finite")


def _first_of(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
