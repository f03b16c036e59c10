"""Keep cells apart that differ in anything but the sweep's axes.

Averaging a cell of `variant.alpha=8` with one of `variant.alpha=16` as if they were two seeds gives a number that no
configuration has. What differs is therefore written out: an option of the variant becomes part of its name
(`lora alpha=16`), any other option becomes part of the setting (`trainer.warmup_ratio=0.1`).
"""

import re
from collections import defaultdict
from collections.abc import Callable, Hashable
from typing import Any

import pandas as pd

SETTING = ["model", "task", "rank", "batch_size", "train_samples", "epochs", "weights", "options", "source"]
"""Columns within whose common values variants are compared."""


NAMED = [key for key in SETTING if key not in ("rank", "batch_size", "train_samples", "epochs")]
"""Of these, what no table or figure puts on an axis."""

SHOWN = 4
"""Options that a line names."""


def separate(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Turn `setting_options` into a column `options` and add differing `variant_options` to `variant`.

    Options that all comparable cells share are left out, so that an ordinary sweep has `options` "" and plain names. Those
    that change from setting to setting, such as an alpha of twice the rank, are in a column `unwritten`.
    """
    write_out(rows, "setting_options", "options", _setting)
    write_out(rows, "variant_options", "variant_suffix", lambda row: (_setting(row), row["options"], row["variant"]))
    for row in rows:
        row["variant"] = f"{row['variant']} {row['variant_suffix']}".rstrip()
    _along_axes(rows)
    return pd.DataFrame(rows).drop(columns=["setting_options", "variant_options", "variant_suffix"])


def _along_axes(rows: list[dict[str, Any]]) -> None:
    """Set `unwritten`: (key, value) of what is not the same in all rows of one name, which are of several settings then."""
    groups = defaultdict(list)
    for row in rows:
        groups[tuple(row[key] for key in (*NAMED, "variant"))].append(row)
    for group in groups.values():
        options = [row["setting_options"] | row["variant_options"] for row in group]
        keys = sorted({key for of_row in options for key in of_row})
        differing = [key for key in keys if len({of_row.get(key) for of_row in options}) > 1]
        for row, of_row in zip(group, options, strict=True):
            row["unwritten"] = tuple((key, of_row.get(key, "unset")) for key in differing)


def beside_axis(frame: pd.DataFrame) -> list[str]:
    """A line on options that change with the settings of one table, if any do: it compares more than its axis then."""
    changes = []
    for variant, texts in frame.groupby("variant")["unwritten"]:
        values: dict[str, set[str]] = defaultdict(set)
        for key, value in {pair for text in set(texts) for pair in text}:
            values[key].add(short(value))
        changes += [f"{variant} {key} ({', '.join(sorted(of))})" for key, of in sorted(values.items()) if len(of) > 1]
    more = f" and {len(changes) - SHOWN} more" if len(changes) > SHOWN else ""
    return [f"Not that axis alone changes: {'; '.join(changes[:SHOWN])}{more}."] if changes else []


def _setting(row: dict[str, Any]) -> Hashable:
    return tuple(row[key] for key in SETTING if key != "options")


def write_out(rows: list[dict[str, Any]], source: str, target: str, group_by: Callable[[dict[str, Any]], Hashable]) -> None:
    """Set `row[target]` to the `key=value`s of `row[source]` that are not the same in all rows of its group.

    Where rows come from several folders (`row["folder"]`), not the same in all rows of one of them.
    """
    groups = defaultdict(list)
    for row in rows:
        groups[group_by(row)].append(row)
    for group in groups.values():
        keys = sorted({key for row in group for key in row[source]})
        folders = {row.get("folder") for row in group}
        differing = [key for key in keys if len({(row.get("folder"), row[source].get(key)) for row in group}) > len(folders)]
        for row in group:
            row[target] = ", ".join(f"{key}={short(row[source].get(key, 'unset'))}" for key in differing)


def short(value: str) -> str:
    """Hashes by their first 8 hex digits; a fingerprint may hold several."""
    return re.sub(r"(sha256:[0-9a-f]{8})[0-9a-f]+", r"\1", value)
