"""A candidate in words: what is known of the hyperparameters, then one line a value."""

from collections.abc import Mapping
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
            SpaceError: no such file, or not of that form.
        """
        import yaml

        file = TEXTS / f"{name}.yaml" if (TEXTS / f"{name}.yaml").is_file() else Path(name)
        try:
            content: Any = yaml.safe_load(file.read_text())
            return Text(**content)
        except (OSError, TypeError, yaml.YAMLError) as error:
            known = ", ".join(sorted(each.stem for each in TEXTS.glob("*.yaml")))
            raise SpaceError(f"text={name} is neither one of {known} nor a yaml with task, axes and names ({error})") from error


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

    def lines(self, candidate: int) -> list[str]:
        """One line an axis, each with its line break before it."""
        values = dict(text.split("=", 1) for text in self.space.overrides(candidate))
        return [f"\n{self._names.get(key, key)}={written(values[key])}" for key in self.keys]


def written(text: str) -> str:
    """A value in one way of writing: 1e-4 for 0.0001 and 1.0e-04, 16 for 16.0, other words as they are."""
    try:
        number = float(text)
    except ValueError:
        return text
    if number == 0 or 1e-2 <= abs(number) < 1e5:
        return f"{number:.6g}"
    digits, exponent = f"{number:.5e}".split("e")
    return f"{digits.rstrip('0').rstrip('.')}e{int(exponent)}"
