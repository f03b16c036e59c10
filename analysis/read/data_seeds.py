"""A cell whose data_seed is its seed belongs with both: those of that data_seed, and those of seeds alone."""

from collections import defaultdict
from collections.abc import Hashable
from typing import Any

from analysis.read.decisive import PART
from analysis.read.options import SETTING

Row = dict[str, Any]


def beside_fellows(rows: list[Row]) -> list[Row]:
    """The rows, those whose data_seed is their seed with every group that has others of the same setting.

    `seed=0` and `seed=0 data_seed=0` are one cell with one record, which either grid may have left. It stands in the group of
    `data_seed=0` where a cell of the setting states that, and among cells without one where there is another seed of them; in
    both, it is there twice. `regrouped`, its data_seed or "unset", is in rows that stand where their own config does not say.

    Args:
        rows: of one folder, with scores.
    """
    alone, stating = defaultdict[Hashable, set[int]](set), defaultdict[Hashable, set[int]](set)
    for row in rows:
        data_seed = row["setting_options"].get("data_seed")
        (alone if data_seed is None else stating)[_setting(row)].add(row["seed"] if data_seed is None else int(data_seed))
    grouped = []
    for row in rows:
        data_seed, setting = row["setting_options"].get("data_seed"), _setting(row)
        others = alone[setting] - {row["seed"]}
        if data_seed is None and row["seed"] in stating[setting]:
            grouped += ([row] if others else []) + [_regrouped(row, str(row["seed"]))]
        elif data_seed == str(row["seed"]) and others:
            grouped += [row, _regrouped(row, None)]
        else:
            grouped.append(row)
    return grouped


def _setting(row: Row) -> Hashable:
    options = frozenset((key, value) for key, value in row["setting_options"].items() if key != "data_seed")
    return *(row.get(key) for key in (*SETTING, *PART) if key != "options"), options


def _regrouped(row: Row, data_seed: str | None) -> Row:
    options = {key: value for key, value in row["setting_options"].items() if key != "data_seed"}
    options |= {} if data_seed is None else {"data_seed": data_seed}
    changed = {"setting_options": options, "regrouped": data_seed or "unset"}
    return row | changed | {"variant_options": dict(row["variant_options"])}
