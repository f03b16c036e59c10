"""Quantities through which several hyperparameters act together: products of powers, such as ``lr * variant.alpha / rank``."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

FACTOR = re.compile(r"([A-Za-z_][\w.]*)(?:\^(\d+(?:\.\d+)?))?")


@dataclass(frozen=True)
class Relation:
    """∏ₖ kᵖ over its keys k with their powers p.

    >>> step = Relation.of("step", "lr * variant.alpha / rank^0.5")
    >>> step.powers
    {'lr': 1.0, 'variant.alpha': 1.0, 'rank': -0.5}
    >>> numbers = {"lr": np.array([1e-3, 2e-3]), "variant.alpha": np.array([8.0, 4.0]), "rank": np.array([4.0, 4.0])}
    >>> step.values(numbers).round(6).tolist()
    [0.004, 0.004]

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
            match = FACTOR.fullmatch(factor.strip())
            if match is None or match[1] in powers:
                raise ValueError(f"relations.{name}: {rule} is no product such as lr * rank / batch_size^0.5")
            powers[match[1]] = float(match[2] or 1) * (1 if sign == "*" else -1)
        if len(powers) < 2 or not all(powers.values()):
            raise ValueError(f"relations.{name}: {rule} relates less than two hyperparameters")
        return Relation(name, powers)

    def holds(self, axes: Mapping[str, np.ndarray]) -> bool:
        """Whether all keys are axes of positive numbers [candidates], of which two vary."""
        columns = [axes[key] for key in self.powers if key in axes and axes[key].dtype.kind == "f"]
        if len(columns) < len(self.powers) or any(column.min() <= 0 for column in columns):
            return False
        return sum(column.min() < column.max() for column in columns) > 1

    def values(self, numbers: Mapping[str, np.ndarray]) -> np.ndarray:
        """exp Σₖ p·log k of candidates whose values are ``numbers`` by key, each [n], all positive.

        Returns:
            [n]; the sum is rounded, so that values that are equal but for the last bits of their factors are equal.
        """
        return np.exp(np.sum([power * np.log(numbers[key]) for key, power in self.powers.items()], axis=0).round(12))
