"""Quantities through which several hyperparameters act together: products of powers, such as ``lr * variant.alpha / rank``."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

FACTOR = re.compile(r"([A-Za-z_][\w.]*)(?:\^(\d+(?:\.\d+)?))?")


@dataclass(frozen=True)
class Relation:
    """∏ key^power.

    Attributes:
        name: of it.
        powers: by key.
    """

    name: str
    powers: Mapping[str, float]

    @staticmethod
    def of(name: str, rule: str) -> "Relation":
        """Of a rule: keys, each with ``^NUMBER`` or without, between ``*`` and ``/``.

        Raises:
            ValueError: it is none.
        """
        powers: dict[str, float] = {}
        for sign, factor in zip(["*", *re.findall(r"[*/]", rule)], re.split(r"[*/]", rule), strict=True):
            found = FACTOR.fullmatch(factor.strip())
            if found is None or found[1] in powers:
                raise ValueError(f"relations.{name}: {rule} is no product such as lr * rank / batch_size^0.5")
            powers[found[1]] = float(found[2] or 1) * (1 if sign == "*" else -1)
        if len(powers) < 2 or not all(powers.values()):
            raise ValueError(f"relations.{name}: {rule} relates less than two hyperparameters")
        return Relation(name, powers)

    def holds(self, axes: Mapping[str, "np.ndarray"]) -> bool:
        """Whether all keys are axes of positive numbers [candidates], of which two vary."""
        found = [axes[key] for key in self.powers if key in axes and axes[key].dtype.kind == "f"]
        if len(found) < len(self.powers) or any(each.min() <= 0 for each in found):
            return False
        return sum(each.min() < each.max() for each in found) > 1

    def values(self, numbers: Mapping[str, "np.ndarray"]) -> "np.ndarray":
        """Of candidates whose values are ``numbers`` by key, each [n], all positive; [n], without differences by rounding."""
        import numpy as np

        return np.exp(np.sum([power * np.log(numbers[key]) for key, power in self.powers.items()], axis=0).round(12))
