"""A candidate in words: what is known of the hyperparameters, then one line a value."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from sweeps.errors import SweepError
from sweeps.language.relations import Relation
from sweeps.numbers import ROUGH, VALUE, parse_number
from sweeps.space import Space

TEXTS = Path(__file__).parent / "texts"


@dataclass(frozen=True)
class Text:
    """What a language model is told about the hyperparameters.

    Attributes:
        task: what is optimised.
        axes: an explanation by key, of a hyperparameter or a relation.
        names: how value lines call a key; without an entry, the key itself.
        relations: quantities through which several hyperparameters act together, as products of their keys
            (``sweeps.language.relations``).
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
        file = TEXTS / f"{name}.yaml" if (TEXTS / f"{name}.yaml").is_file() else Path(name)
        try:
            content: Any = yaml.safe_load(file.read_text())
            return Text(**_parts(content))
        except (OSError, ValueError, yaml.YAMLError) as error:
            available = ", ".join(sorted(text.stem for text in TEXTS.glob("*.yaml")))
            reason = " ".join(str(error).split())
            raise SweepError(
                f"text={name} is neither one of {available} nor a yaml with task, axes, names and relations ({reason})"
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
        entries = parts.get(part, {})
        if not isinstance(entries, dict):
            raise ValueError(f"{part} is no mapping from keys to texts")
        if wrong := [str(key) for key, value in entries.items() if not (isinstance(key, str) and isinstance(value, str))]:
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

    >>> space = Space({"lr": ["1e-4", "1e-3"], "rank": ["4", "8"]})
    >>> prompts = Prompts(space, Text(axes={"lr": "lr is the peak learning rate."}))
    >>> print(prompts.head, *prompts.lines(3), sep="")
    lr is the peak learning rate.
    The setting:
    lr=1e-3
    rank=8

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
        told_by = {name: key for key, names in space.derived.items() for name in names if name in space.hidden}
        axes = list(dict.fromkeys(told_by.get(key, key) for key in space.keys))
        of_text = list(text.relations.values()) if domain and relations else []
        if taken := [relation.name for relation in of_text if relation.name in space.columns]:
            raise SweepError(f"the text's relation {taken[0]} has the name of a key that is searched: give it another one")
        columns = {key: space.columns[key] for key in axes}
        self._relations = [relation for relation in of_text if relation.holds(columns)]
        self.keys = self._ordered(axes)
        shown = [self._names.get(key, key) for key in self.keys]
        if alike := [name for name in shown if shown.count(name) > 1]:
            raise SweepError(f"two lines would both tell {alike[0]}=: give one of them another name in the text's names")
        self.explanations = {key: text.axes.get(key, "").strip() if domain else "" for key in self.keys}
        self._explains = domain and bool(text.axes)
        parts = [text.task.strip() if domain else "", *self.explanations.values()]
        self.head = "\n".join([*(part for part in parts if part), "The setting:"])

    @cached_property
    def columns(self) -> dict[str, np.ndarray]:
        """For each key what its line tells of each candidate [candidates]: numbers, or words."""
        of_relations = {relation.name: relation.values(self.space.columns) for relation in self._relations}
        columns = self.space.columns | of_relations
        return {key: columns[key] for key in self.keys}

    @property
    def unexplained(self) -> list[str]:
        """Keys that a text with explanations has none of; of a text without any, and with ``domain=False``, none."""
        bare = [key for key in self.keys if not self.explanations[key]]
        return bare if self._explains else []

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
    def lines_by_key(self) -> dict[str, tuple[list[str], np.ndarray]]:
        """For each key its different lines, and each candidate's place among them [candidates]."""
        lines, relations = {}, {relation.name for relation in self._relations}
        for key, column in self.columns.items():
            values, at = np.unique(column, return_inverse=True)
            digits = ROUGH if key in relations else VALUE
            texts = [f"{value:{digits}}" if isinstance(value, float) else value for value in values.tolist()]
            alike = scientific(texts)
            lines[key] = [f"\n{self._names.get(key, key)}={write_value(text, alike)}" for text in texts], at
        return lines

    def _ordered(self, axes: Sequence[str]) -> list[str]:
        """The axes' keys and the relations' names."""
        needed = [key for key in axes if any(key in relation.powers for relation in self._relations)]
        keys: list[str] = []
        for key in needed:
            keys.append(key)
            complete = [relation.name for relation in self._relations if set(relation.powers) <= set(keys)]
            keys += [name for name in complete if name not in keys]
        return [*keys, *(key for key in axes if key not in needed)]


def scientific(texts: Iterable[str]) -> bool:
    """Whether an axis's numbers are written as 1e-4: all are, where one is below 0.01 or from 100,000 on."""
    sizes = [abs(number) for number in map(parse_number, texts) if number]
    return any(not 1e-2 <= size < 1e5 for size in sizes)


def write_value(text: str, scientific: bool) -> str:
    """A value in one way of writing; words, and 0, as they are.

    >>> write_value("0.0001", scientific=True), write_value("1.0e-04", scientific=True), write_value("16.0", scientific=False)
    ('1e-4', '1e-4', '16')
    """
    number = parse_number(text)
    if number is None:
        return text
    if number == 0 or not scientific:
        return f"{number:{VALUE}}"
    digits, exponent = f"{number:.5e}".split("e")
    return f"{digits.rstrip('0').rstrip('.')}e{int(exponent)}"
