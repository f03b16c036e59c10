"""The default LoRA that a recommendation is compared with: which of the configurations it is."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress

import pandas as pd

from analysis.errors import AnalysisError
from analysis.questions.recommendation.configurations import AXES, Configuration, Group
from analysis.read import REFERENCE
from analysis.stats.curves import same_lr
from analysis.style.numbers import exact_lr

KEYS = ("variant", "lr", "rank", *AXES)


def parse(text: str) -> dict[str, str]:
    """`lr=2e-4,rank=8` by key.

    Raises:
        AnalysisError: it is not of that form, or has a key that is no axis and no option.
    """
    values = {}
    for word in text.split(","):
        key, sign, value = (part.strip() for part in word.partition("="))
        if not (key and sign and value):
            raise AnalysisError(f"--default {text} is not KEY=VALUE,KEY=VALUE, such as lr=2e-4,rank=8")
        if key not in KEYS and "." not in key:
            raise AnalysisError(f"--default has no key {key!r}: there are {', '.join(KEYS)}, and options such as variant.alpha")
        values[key] = value
    return values


def default_of(group: Group, default: Mapping[str, str]) -> Configuration | None:
    """The configuration of these values; where several have them, the one that is otherwise most like the other cells."""
    candidates = [one for one in group.configurations if all(_has(one, key, default) for key in {"variant", *default})]
    open_axes = [axis for axis in ("lr", "rank", *AXES, "options") if axis not in default]
    cells = [row for one in group.configurations for row in one.rows]
    counts = {axis: Counter(str(row[axis]) for row in cells) for axis in open_axes}

    def likeness(one: Configuration) -> tuple[int, int, int]:
        usual = sum(str(one.rows[0][axis]) == counts[axis].most_common(1)[0][0] for axis in open_axes)
        return usual, -len(one.options), len(one.seeds)

    return max(candidates, key=likeness, default=None)


def none_has(parts: Sequence[Group], default: Mapping[str, str]) -> str:
    """The line on a default that no configuration is."""
    variant = default.get("variant", REFERENCE)
    lrs = sorted({one.lr for group in parts for one in group.configurations if one.method == variant})
    tried = f"it was run at lr {', '.join(map(exact_lr, lrs))}" if lrs else "it was not run at all"
    named = ", ".join(f"{key}={value}" for key, value in default.items() if key != "variant")
    return f"no record is of the default {variant} with {named}: {tried}; name another --default, or run this one"


def _has(one: Configuration, key: str, default: Mapping[str, str]) -> bool:
    if key == "variant":
        return one.method == default.get(key, REFERENCE)
    value = one.rows[0].get(key)
    if value is None or pd.isna(value):
        return default[key] == "null"
    with suppress(ValueError, TypeError):
        stated, own = float(default[key]), float(value)
        return same_lr(stated, own) if key == "lr" else math.isclose(stated, own)
    return default[key] == str(value)
