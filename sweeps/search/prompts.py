"""A candidate in words: what is known of the hyperparameters, then one line a value."""

import itertools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sweeps.space import Space, SpaceError

TEXTS = Path(__file__).parent / "texts"


@dataclass(frozen=True)
class Text:
    """What a language model is told about the hyperparameters.

    Attributes:
        task: what is optimised.
        axes: an explanation by key.
        names: how value lines call a key; without an entry, the key itself.
    """

    task: str = ""
    axes: Mapping[str, str] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)

    @staticmethod
    def read(name: str) -> "Text":
        """Of ``texts/NAME.yaml``, or of a file.

        Raises:
            SpaceError: no such file, or not of that form; one line.
        """
        import yaml

        file = TEXTS / f"{name}.yaml" if (TEXTS / f"{name}.yaml").is_file() else Path(name)
        try:
            content: Any = yaml.safe_load(file.read_text())
            return Text(**_parts(content))
        except (OSError, ValueError, yaml.YAMLError) as error:
            known = ", ".join(sorted(each.stem for each in TEXTS.glob("*.yaml")))
            reason = " ".join(str(error).split())
            raise SpaceError(
                f"text={name} is neither one of {known} nor a yaml with task, axes and names ({reason})"
            ) from error


def _parts(content: Any) -> dict[str, Any]:
    """The parts of a text that a yaml holds; a part without content is left out."""
    if not isinstance(content, dict):
        raise ValueError("it is no mapping")
    if unknown := [str(key) for key in content if key not in ("task", "axes", "names")]:
        raise ValueError(f"{', '.join(unknown)} is none of task, axes, names")
    parts = {key: value for key, value in content.items() if value is not None}
    if not isinstance(parts.get("task", ""), str):
        raise ValueError("task is no text")
    for part in ("axes", "names"):
        each = parts.get(part, {})
        if not isinstance(each, dict):
            raise ValueError(f"{part} is no mapping from keys to texts")
        if wrong := [str(key) for key, value in each.items() if not (isinstance(key, str) and isinstance(value, str))]:
            raise ValueError(f"{part}.{wrong[0]} is no text")
    return parts


class Prompts:
    """The texts of a space's candidates: a head that all share, then lines ``name=value`` in the order of the axes.

    An axis that is only a factor of a derived key is told by that key, at which a reader can think something: alpha=16, not
    alpha_mult=2.

    Args:
        space: the candidates.
        text: the explanations; with ``domain=False`` the head is one neutral line.
    """

    def __init__(self, space: Space, text: Text, domain: bool = True) -> None:
        self.space, self._names = space, text.names
        told = {name: key for key, names in space.derived.items() for name in names if name in space.hidden}
        self.keys = [told.get(key, key) for key in space.keys]
        parts = [text.task, *(text.axes.get(key, "") for key in self.keys)] if domain else []
        self.head = "\n".join([*(part.strip() for part in parts if part), "The setting:"])
        values: dict[str, Iterable[str]] = {axis.key: axis.texts for axis in space.axes}
        for key, names in space.derived.items():
            settings = itertools.product(*(values[name] for name in names))
            values[key] = [str(math.prod(map(float, each))) for each in settings]
        self._scientific = {key: scientific(values[key]) for key in self.keys}

    def lines(self, candidate: int) -> list[str]:
        """One line an axis, each with its line break before it."""
        values = dict(text.split("=", 1) for text in self.space.overrides(candidate))
        return [f"\n{self._names.get(key, key)}={written(values[key], self._scientific[key])}" for key in self.keys]


def scientific(texts: Iterable[str]) -> bool:
    """Whether an axis's numbers are written as 1e-4: all are, where one is below 0.01 or from 100,000 on."""
    sizes = [abs(number) for number in map(_number, texts) if number]
    return any(not 1e-2 <= size < 1e5 for size in sizes)


def written(text: str, scientific: bool) -> str:
    """A value in one way of writing: 1e-4 for 0.0001 and 1.0e-04, or 16 for 16.0; other words, and 0, as they are."""
    number = _number(text)
    if number is None:
        return text
    if number == 0 or not scientific:
        return f"{number:.6g}"
    digits, exponent = f"{number:.5e}".split("e")
    return f"{digits.rstrip('0').rstrip('.')}e{int(exponent)}"


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
