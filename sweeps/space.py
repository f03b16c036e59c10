"""A finite search space: axes with listed values, and every combination of them as a numbered candidate."""

import hashlib
import itertools
import json
import math
import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sweeps.errors import SweepError
from sweeps.numbers import EXACT, parse_number

LOG_RANGE = 10
"""A positive axis whose largest value is at least so many times its smallest is encoded by its logarithm."""


@dataclass(frozen=True)
class Axis:
    """One hyperparameter.

    Attributes:
        key: the override's key.
        texts: its values as they stand in an override, in the user's order.
    """

    key: str
    texts: tuple[str, ...]

    @cached_property
    def numbers(self) -> tuple[float, ...] | None:
        """The values as finite numbers, None where one is not."""
        numbers = [number for text in self.texts if (number := parse_number(text)) is not None]
        return tuple(numbers) if len(numbers) == len(self.texts) else None

    @property
    def logarithmic(self) -> bool:
        """Whether the logarithm of its values is what counts.

        They are positive, and span ``LOG_RANGE`` or have neighbours whose ratios are nearer to constant than their differences,
        by the coefficient of variation c = σ/μ: c(v₂/v₁, v₃/v₂, …) < c(v₂ − v₁, v₃ − v₂, …).

        >>> Axis("rank", ("4", "8", "16")).logarithmic, Axis("steps", ("10", "20", "30")).logarithmic
        (True, False)
        """
        numbers = sorted(set(self.numbers or ()))
        if not numbers or numbers[0] <= 0:
            return False
        if numbers[-1] >= LOG_RANGE * numbers[0]:
            return True
        pairs = list(itertools.pairwise(numbers))
        return _variation([b / a for a, b in pairs]) < _variation([b - a for a, b in pairs])

    @property
    def order(self) -> list[int]:
        """Positions of the values, ascending where they are numbers."""
        positions = range(len(self.texts))
        return sorted(positions, key=self.numbers.__getitem__) if self.numbers else list(positions)


class Space:
    """The product of axes, whose combinations are numbered as candidates, the last axis varying fastest.

    The candidate at positions j₁ … j_d of axes with n₁ … n_d values is i = (…(j₁·n₂ + j₂)·n₃ + …)·n_d + j_d. In the shapes
    below, ``candidates`` is the number of all of them, ∏ n, and ``d`` that of the columns of ``encoded``.

    >>> space = Space({"rank": ["4", "8"], "lr": ["1e-4", "1e-3", "1e-2"]})
    >>> len(space), space.candidate([1, 2]), space.overrides(5)
    (6, 5, ['rank=8', 'lr=1e-2'])
    >>> space.encoded[[1, 5]].round(6).tolist()
    [[0.0, 0.5], [1.0, 1.0]]

    A derived key follows from axes, of which a hidden one is no override itself:

    >>> Space({"rank": ["4", "8"], "mult": ["2"]}, {"alpha": "rank * mult"}, ["mult"]).overrides(1)
    ['rank=8', 'alpha=16']

    Args:
        axes: each key with its values' texts.
        derived: keys that follow from axes, each a product such as ``rank * alpha_mult``.
        hidden: axes that are no overrides themselves, as ``alpha_mult``.

    Raises:
        SweepError: no axis; an axis without values or with one twice; a derived key of what is no numeric axis.
    """

    def __init__(
        self, axes: Mapping[str, Sequence[str]], derived: Mapping[str, str] | None = None, hidden: Collection[str] = ()
    ) -> None:
        self.axes = tuple(Axis(key, tuple(texts)) for key, texts in axes.items())
        if not self.axes:
            raise SweepError("nothing to search: give values to choose from, as lr=1e-4,1e-3 or rank='range(1,9)'")
        for axis in self.axes:
            if not axis.texts:
                raise SweepError(f"{axis.key} has no values to choose from")
            values = [_value(text) for text in axis.texts]
            if twice := [text for text, value in zip(axis.texts, values, strict=True) if values.count(value) > 1]:
                alike = [text for text in dict.fromkeys(twice) if _value(text) == _value(twice[0])]
                raise SweepError(f"{axis.key} has {alike[0]} twice" + (f", also as {alike[1]}" if alike[1:] else ""))
        self.derived = rules(derived or {}, axes)
        self.hidden = frozenset(hidden)

    def __len__(self) -> int:
        return math.prod(len(axis.texts) for axis in self.axes)

    def __str__(self) -> str:
        """``lr 5 × rank 3``: how many values each axis has."""
        return " × ".join(f"{axis.key} {len(axis.texts)}" for axis in self.axes)

    @property
    def keys(self) -> tuple[str, ...]:
        """The axes' keys."""
        return tuple(axis.key for axis in self.axes)

    @property
    def digest(self) -> str:
        """A hash of the axes, their values and the derived keys."""
        content = [[axis.key, axis.texts] for axis in self.axes], sorted(self.derived.items())
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]

    def indices(self, candidate: int) -> tuple[int, ...]:
        """The candidate's position on each axis.

        Raises:
            IndexError: there is no candidate of this number.
        """
        if not 0 <= candidate < len(self):
            raise IndexError(candidate)
        indices = []
        for axis in reversed(self.axes):
            candidate, index = divmod(candidate, len(axis.texts))
            indices.append(index)
        return tuple(reversed(indices))

    def candidate(self, indices: Sequence[int]) -> int:
        """The number of the candidate at these positions."""
        number = 0
        for axis, index in zip(self.axes, indices, strict=True):
            number = number * len(axis.texts) + index
        return number

    def texts(self, candidate: int) -> dict[str, str]:
        """The candidate's value on each axis, by key."""
        return {axis.key: axis.texts[i] for axis, i in zip(self.axes, self.indices(candidate), strict=True)}

    def overrides(self, candidate: int) -> list[str]:
        """The candidate as override strings, derived keys last."""
        return [f"{key}={text}" for key, text in derive(self.texts(candidate), self.derived, self.hidden).items()]

    def cover(self) -> list[int]:
        """Candidates that have every value: the first one, then that with one axis changed at a time."""
        origin = [0] * len(self.axes)
        places = [(i, j) for i, axis in enumerate(self.axes) for j in range(1, len(axis.texts))]
        return [0, *(self.candidate([*origin[:i], j, *origin[i + 1 :]]) for i, j in places)]

    @cached_property
    def positions(self) -> np.ndarray:
        """All candidates' positions on each axis [axes, candidates]."""
        return np.indices([len(axis.texts) for axis in self.axes]).reshape(len(self.axes), -1)

    @cached_property
    def columns(self) -> dict[str, np.ndarray]:
        """All candidates' values of each axis and derived key [candidates]: numbers (float64), or texts.

        >>> Space({"rank": ["4", "8"], "mult": ["2"]}, {"alpha": "rank * mult"}).columns["alpha"].tolist()
        [8.0, 16.0]
        """
        columns: dict[str, np.ndarray] = {}
        for axis, positions in zip(self.axes, self.positions, strict=True):
            values = np.asarray(axis.texts) if axis.numbers is None else np.asarray(axis.numbers, dtype=float)
            columns[axis.key] = values[positions]
        return columns | {key: np.prod([columns[name] for name in names], axis=0) for key, names in self.derived.items()}

    @cached_property
    def encoded(self) -> np.ndarray:
        """All candidates as points of [0, 1]^d, [candidates, d], float64.

        A numeric axis is one dimension, (v − min v) / (max v − min v), v being its values' logarithms where
        ``Axis.logarithmic`` says so; any other has a dimension for each of its values, 0 or 1. An axis of one value has none.
        """
        columns: list[np.ndarray] = []
        for axis, positions in zip(self.axes, self.positions, strict=True):
            if len(axis.texts) == 1:
                continue
            if axis.numbers is None:
                columns.extend(np.eye(len(axis.texts))[:, positions])
            else:
                values = np.log(axis.numbers) if axis.logarithmic else np.asarray(axis.numbers)
                scaled = (values - values.min()) / (values.max() - values.min())
                columns.append(scaled[positions])
        return np.stack(columns, axis=1) if columns else np.zeros((len(self), 1))


def _variation(values: Sequence[float]) -> float:
    """Standard deviation over mean; 0 of less than two values."""
    return statistics.pstdev(values) / statistics.fmean(values) if len(values) > 1 else 0.0


def _value(text: str) -> float | str:
    """What a text stands for: 0 and 0.0 are one value."""
    number = parse_number(text)
    return text if number is None else number


def rules(derived: Mapping[str, str], axes: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """The factors of each derived key.

    Raises:
        SweepError: a key that has values of its own, or one derived from what is no numeric axis.
    """
    names_by_key = {key: factors(rule) for key, rule in derived.items()}
    for key, names in names_by_key.items():
        if key in axes:
            raise SweepError(f"{key} is both given and derived ({' * '.join(names)}): drop one of the two")
        if wrong := [name for name in names if Axis(name, tuple(axes.get(name, ["-"]))).numbers is None]:
            raise SweepError(
                f"{key} is derived from {', '.join(wrong)}, which is no axis of numbers here; such a key is a product of axes"
            )
    return names_by_key


def factors(rule: str) -> tuple[str, ...]:
    """The keys of a product.

    >>> factors("rank * alpha_mult")
    ('rank', 'alpha_mult')
    """
    return tuple(name.strip() for name in rule.split("*"))


def derive(texts: Mapping[str, str], derived: Mapping[str, tuple[str, ...]], hidden: Collection[str]) -> dict[str, str]:
    """The values by key without the hidden ones, and the derived ones after them."""
    values = {key: text for key, text in texts.items() if key not in hidden}
    for key, names in derived.items():
        values[key] = f"{math.prod(float(texts[name]) for name in names):{EXACT}}"
    return values
