"""What the variants cost: time, memory, parameters and tokens, and the hours of the whole sweep."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from analysis.labels import hyperparameters, model_and_task
from analysis.options import SETTING
from analysis.palette import in_order
from analysis.rendering import Block, number
from analysis.stats import settings

if TYPE_CHECKING:
    import pandas as pd

REFERENCE = "lora"
HEADER = ["variant", "cells", "parameters", "s a step", "of LoRA's", "tokens/s", "memory GiB", "evaluation s", "hours in all"]
ALIGN = "<>>>>>>>>"
NOTES = [
    "Medians over the finished cells of a setting; hours: training and evaluation of all of them. Times of cells that ran "
    "beside others, or on other devices, do not compare.",
]


def frame(frame: pd.DataFrame) -> pd.DataFrame:
    """Measured costs, one row a setting and variant.

    Returns:
        `SETTING`, `variant`, `cells`, medians of `parameters`, `seconds_a_step`, `tokens_a_second`, `peak_memory` (bytes) and
        `evaluation_seconds`, and `hours`, the sum.
    """
    import pandas as pd

    done = frame[(frame["status"] == "complete") & frame["seconds"].notna()]
    if done.empty:
        return pd.DataFrame(columns=[*SETTING, "variant", "cells", "hours"])
    done = done.assign(
        seconds_a_step=done["seconds"] / done["steps"],
        tokens_a_second=done["tokens"] / done["seconds"],
        hours=(done["seconds"] + done["evaluation_seconds"].fillna(0)) / 3600,
    )
    columns = ["parameters", "seconds_a_step", "tokens_a_second", "peak_memory", "evaluation_seconds"]
    return (
        done.groupby([*SETTING, "variant"], dropna=False)
        .agg(cells=("id", "size"), **{name: (name, "median") for name in columns}, hours=("hours", "sum"))
        .reset_index()
    )


def blocks(cells: pd.DataFrame) -> tuple[list[Block], list[str]]:
    """One block a setting, and one remark on the devices."""
    found = []
    for setting, of_setting in settings(cells):
        costs = frame(of_setting).set_index("variant")
        if costs.empty:
            continue
        reference = costs["seconds_a_step"].get(REFERENCE, math.nan)
        rows = []
        for name in in_order(costs.index):
            row: Any = costs.loc[name]
            rows.append(
                [
                    name,
                    str(int(row["cells"])),
                    "-" if math.isnan(row["parameters"]) else f"{int(row['parameters']):,}",
                    *map(number, (row["seconds_a_step"], row["seconds_a_step"] / reference, row["tokens_a_second"])),
                    *map(number, (row["peak_memory"] / 2**30, row["evaluation_seconds"], row["hours"])),
                ]
            )
        devices = sorted(set(of_setting["device"].dropna()) - {""})
        remarks = [f"{'Devices' if len(devices) > 1 else 'Device'}: {', '.join(devices)}."] if devices else []
        found.append(Block(model_and_task(setting), hyperparameters(setting), HEADER, ALIGN, rows, remarks))
    return found, NOTES if found else ["No cell has a measured cost."]
