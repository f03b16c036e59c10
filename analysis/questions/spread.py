"""What differs between the seeds of a cell, and so what noise the ± over them holds."""

from collections.abc import Hashable, Iterable, Mapping
from typing import Any

import pandas as pd

MEANS = -1
"""Seed of a row that is a mean over seeds."""

DRAW = "initialisation, if the variant draws one"
OF_PUBLISHED = {"arXiv 2602.04998": f"{DRAW} (not of samples and order, the same in all of the paper's trials)"}
"""By source what its seeds decide."""


def spread(rows: Iterable[Mapping[Hashable, Any]]) -> str:
    """In words, of rows of `read.load.load_records` with `wide=True`; where they differ, each way with "or" between."""
    return "; or ".join(sorted({_published(row) if row["seed"] == MEANS else _own(row) for row in rows}))


def _published(row: Mapping[Hashable, Any]) -> str:
    return OF_PUBLISHED.get(row["source"], f"what differs between the seeds of {row['source']}, which is not known here")


def _own(row: Mapping[Hashable, Any]) -> str:
    """`seed` decides all that is drawn; samples and order are not where a `data_seed`, a `subset` or their number says so."""
    dropout = _stated(row, "variant.dropout")
    varies = [DRAW] + ([] if dropout == 0 else ["dropout, if any"] if dropout is None else ["dropout"])
    if _stated(row, "data_seed") is not None:
        return f"{_listed(varies)} (not of samples and order: data_seed is one for all seeds)"
    sampling = _stated(row, "sampling")
    if sampling == "first":
        return f"{_listed([*varies, 'order'])} (not of samples: subset=first)"
    if sampling is not None:
        return f"{_listed([*varies, f'samples (as subset={sampling} draws them)', 'order'])}"
    if _stated(row, "train_samples") is None:
        return f"{_listed([*varies, 'order'])} (not of samples: all are taken)"
    return _listed([*varies, "samples", "order"])


def _stated(row: Mapping[Hashable, Any], key: str) -> Any:
    """None where a row has no such column, or nothing in it."""
    return None if pd.isna(row.get(key)) else row[key]


def _listed(words: list[str]) -> str:
    """Semicolons, since a part may have commas of its own."""
    return words[0] if len(words) == 1 else f"{'; '.join(words[:-1])}; and {words[-1]}"
