"""A candidate in words: what is known of the hyperparameters, then one line a value."""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeps.errors import SweepError
from sweeps.search.relations import Relation
from sweeps.space import Space

if TYPE_CHECKING:
    import numpy as np

TEXTS = Path(__file__).parent / "texts"


@dataclass(frozen=True)
class Text:
    """What a language model is told about the hyperparameters.

    Attributes:
        task: what is optimised.
        axes: an explanation by key, of a hyperparameter or a relation.
        names: how value lines call a key; without an entry, the key itself.
        relations: quantities through which several hyperparameters act together, as products of their keys
            (``sweeps.search.relations``).
    """

    task: str = ""
    axes: Mapping[str, str] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    relations: Mapping[str, Relation] = field(default_factory=dict)

    @staticmethod
    def read(name: str) -> "Text":
        """Of ``texts/NAME.yaml``, or of a file.

        Raises:
            SweepError: no such file, or not of that form; one line.
        """
        import yaml

        file = TEXTS / f"{name}.yaml" if (TEXTS / f"{name}.yaml").is_file() else Path(name)
        try:
            content: Any = yaml.safe_load(file.read_text())
            return Text(**_parts(content))
        except (OSError, ValueError, yaml.YAMLError) as error:
            known = ", ".join(sorted(each.stem for each in TEXTS.glob("*.yaml")))
            reason = " ".join(str(error).split())
            raise SweepError(
                f"text={name} is neither one of {known} nor a yaml with task, axes, names and relations ({reason})"
            ) from error


def _parts(content: Any) -> dict[str, Any]:
    """The parts of a text that a yaml holds; a part without content is left out."""
    if not isinstance(content, dict):
        raise ValueError("it is no mapping")
    if unknown := [str(key) for key in content if key not in ("task", "axes", "names", "relations")]:
        raise ValueError(f"{', '.join(unknown)} is none of task, axes, names, relations")
    parts = {key: value for key, value in content.items() if value is not None}
    if not isinstance(parts.get("task", ""), str):
        raise ValueError("task is no text")
    for part in ("axes", "names", "relations"):
        each = parts.get(part, {})
        if not isinstance(each, dict):
            raise ValueError(f"{part} is no mapping from keys to texts")
        if wrong := [str(key) for key, value in each.items() if not (isinstance(key, str) and isinstance(value, str))]:
            raise ValueError(f"{part}.{wrong[0]} is no text")
    relations = {name: Relation.of(name, rule) for name, rule in parts.get("relations", {}).items()}
    for name, relation in relations.items():
        if unknown := [key for key in relation.powers if key not in parts.get("axes", {}) or key in relations]:
            raise ValueError(f"relations.{name}: {unknown[0]} is no hyperparameter that axes explains")
    return parts | {"relations": relations}


class Prompts:
    """The texts of a space's candidates: a head that all share, then a line ``name=value`` for each axis and each relation.

    An axis that is only a factor of a derived key is told by that key, at which a reader can think something: alpha=16, not
    alpha_mult=2. The axes that relations need come first, and each relation behind the last of its own, so that texts that
    differ in the other axes alone begin alike.

    Args:
        space: the candidates.
        text: the explanations; with ``domain=False`` the head is one neutral line, and no relation is told.
        relations: False: none is told.

    Attributes:
        keys: what the lines tell, in their order.
        explanations: of each key, empty where there is none.
    """

    def __init__(self, space: Space, text: Text, domain: bool = True, relations: bool = True) -> None:
        self.space, self._names = space, text.names
        seen = {name: key for key, names in space.derived.items() for name in names if name in space.hidden}
        axes = list(dict.fromkeys(seen.get(key, key) for key in space.keys))
        given = list(text.relations.values()) if domain and relations else []
        if taken := [each.name for each in given if each.name in space.columns]:
            raise SweepError(f"the text's relation {taken[0]} has the name of a key that is searched: give it another one")
        self._relations = [each for each in given if each.holds({key: space.columns[key] for key in axes})]
        self.keys = self._ordered(axes)
        shown = [self._names.get(key, key) for key in self.keys]
        if alike := [name for name in shown if shown.count(name) > 1]:
            raise SweepError(f"two lines would both tell {alike[0]}=: give one of them another name in the text's names")
        self.explanations = {key: text.axes.get(key, "").strip() if domain else "" for key in self.keys}
        self._explains = domain and bool(text.axes)
        parts = [text.task.strip() if domain else "", *self.explanations.values()]
        self.head = "\n".join([*(part for part in parts if part), "The setting:"])

    @cached_property
    def told(self) -> dict[str, "np.ndarray"]:
        """For each key what its line tells of each candidate [candidates]: numbers, or words."""
        columns = self.space.columns | {each.name: each.values(self.space.columns) for each in self._relations}
        return {key: columns[key] for key in self.keys}

    @property
    def told_alone(self) -> list[str]:
        """Keys that a text with explanations has none of; of a text without any, and with ``domain=False``, none."""
        unknown = [key for key in self.keys if not self.explanations[key]]
        return unknown if self._explains else []

    @cached_property
    def digest(self) -> str:
        """A hash of all candidates' texts: of the head, and of a line for each value."""
        content: list[Any] = [self.head, self.keys, self.space.digest, sorted(self.space.hidden)]
        content.append([self.lines(candidate) for candidate in self.space.cover()])
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]

    def lines(self, candidate: int) -> list[str]:
        """One line a key, each with its line break before it."""
        return [texts[at[candidate]] for texts, at in self.lines_by_key.values()]

    @cached_property
    def lines_by_key(self) -> dict[str, tuple[list[str], "np.ndarray"]]:
        """For each key its different lines, and each candidate's."""
        import numpy as np

        found, relations = {}, {each.name for each in self._relations}
        for key, told in self.told.items():
            values, at = np.unique(told, return_inverse=True)
            digits = 3 if key in relations else 6
            texts = [f"{value:.{digits}g}" if isinstance(value, float) else value for value in values.tolist()]
            alike = scientific(texts)
            found[key] = [f"\n{self._names.get(key, key)}={written(text, alike)}" for text in texts], at
        return found

    def _ordered(self, axes: Sequence[str]) -> list[str]:
        """The axes' keys and the relations' names."""
        needed = [key for key in axes if any(key in each.powers for each in self._relations)]
        found: list[str] = []
        for key in needed:
            found.append(key)
            found += [each.name for each in self._relations if each.name not in found and set(each.powers) <= set(found)]
        return [*found, *(key for key in axes if key not in needed)]


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
