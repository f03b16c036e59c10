"""What the variants cost: time, memory, parameters and tokens, and the hours of the whole sweep."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from statistics import fmean
from typing import Any

import pandas as pd

from analysis.read import REFERENCE
from analysis.read.options import SETTING
from analysis.stats.curves import group_rows, peaks, setting_key, settings
from analysis.style.numbers import number
from analysis.style.palette import in_order
from analysis.style.rendering import Block
from analysis.style.settings import hyperparameters, model_and_task
from analysis.tables._pscp import GIGABYTES, IMPORTANCE, PARAMETERS, TFLOPS, pscp

HEADER = ["variant", "cells", "parameters", "s a step", "of LoRA's", "tokens/s", "memory GiB"]
HEADER += ["evaluation s", "hours in all", "PSCP"]
ALIGN = "<>>>>>>>>>"
NOTES = [
    "Medians over the finished cells of a setting; hours: training and evaluation of all of them. No ratio to LoRA's where "
    "the devices differ. Times of cells that ran beside others do not compare. The time of a probe is in no column.",
    "PSCP = P (1 + Mp/Cp)^-b (1 + Mf/Cf)^-b (1 + Mm/Cm)^-b (Belanec et al. 2025, arXiv 2511.21285, eq. 3): P the test score in "
    "percent at the learning rate chosen on validation, Mp trained parameters, Mf what inference takes above the base's (none "
    "with merged weights; not measured, so –, without), Mm training's peak memory (on a CPU the process's), means over seeds. "
    f"Their constants: Cp = {PARAMETERS:.0e}, Cf = {TFLOPS:g} TFLOPs, Cm = {GIGABYTES:g} GB (10^9 bytes), b = {IMPORTANCE:g}.",
]


def frame(cells: pd.DataFrame) -> pd.DataFrame:
    """Measured costs, one row a setting and variant.

    Returns:
        `SETTING`, `variant`, `cells`, medians of `parameters`, `seconds_a_step`, `tokens_a_second`, `peak_memory` (bytes) and
        `evaluation_seconds`, `hours`, the sum, and `pscp`, a fraction.
    """
    done = cells[(cells["status"] == "complete") & cells["seconds"].notna()]
    if done.empty:
        return pd.DataFrame(columns=[*SETTING, "variant", "cells", "hours", "pscp"])
    done = done.assign(
        seconds_a_step=done["seconds"] / done["steps"],
        tokens_a_second=done["tokens"] / done["seconds"],
        hours=(done["seconds"] + done["evaluation_seconds"].fillna(0)) / 3600,
    )
    columns = ["parameters", "seconds_a_step", "tokens_a_second", "peak_memory", "evaluation_seconds"]
    costs = (
        done.groupby([*SETTING, "variant"], dropna=False)
        .agg(cells=("id", "size"), **{name: (name, "median") for name in columns}, hours=("hours", "sum"))
        .reset_index()
    )
    scores = penalised(cells, done)
    return costs.assign(pscp=[scores.get((setting_key(row), row["variant"]), math.nan) for row in costs.to_dict("records")])


def penalised(cells: pd.DataFrame, done: pd.DataFrame) -> dict[tuple[Any, ...], float]:
    """PSCP by setting and variant: of the test score at the learning rate chosen on validation, and what its seeds cost."""
    points = {
        (setting_key(seeds[0]), seeds[0]["variant"], seeds[0]["lr"]): seeds
        for seeds in group_rows(done, [*SETTING, "variant", "lr"])
    }
    scores = {}
    for row in peaks(cells).to_dict("records"):
        key = setting_key(row), row["variant"]
        if (seeds := points.get((*key, row["selected_lr"]))) is not None:
            # One that is not known is NaN, and so is the mean.
            means = {name: fmean(seed[name] for seed in seeds) for name in ("parameters", "extra_tflops", "peak_memory")}
            scores[key] = pscp(row["selected_mean"], means["parameters"], means["extra_tflops"], means["peak_memory"])
    return scores


def devices_of(cells: Iterable[Mapping[Any, Any]]) -> dict[str, set[str]]:
    """The devices on which each variant's finished cells ran, where known."""
    devices: dict[str, set[str]] = defaultdict(set)
    for cell in cells:
        if cell["status"] == "complete" and isinstance(device := cell.get("device"), str) and device:
            devices[cell["variant"]].add(device)
    return devices


def relative(costs: Mapping[str, float], devices: Mapping[str, set[str]]) -> dict[str, float]:
    """Seconds a step over the reference's; NaN without it, and where the two did not run on one device alone."""
    of = devices.get(REFERENCE, set())
    alike = {name: len(devices.get(name, set()) | of) < 2 for name in costs}
    return {name: cost / costs[REFERENCE] if alike[name] and REFERENCE in costs else math.nan for name, cost in costs.items()}


def blocks(cells: pd.DataFrame) -> tuple[list[Block], list[str]]:
    """One block a setting, and one remark on the devices."""
    tables = []
    for setting, of_setting in settings(cells):
        costs = frame(of_setting).set_index("variant")
        if costs.empty:
            continue
        devices = devices_of(of_setting.to_dict("records"))
        ratios = relative({str(name): cost for name, cost in costs["seconds_a_step"].items()}, devices)
        rows = []
        for name in in_order(costs.index):
            row: Any = costs.loc[name]
            rows.append(
                [
                    name,
                    str(int(row["cells"])),
                    "-" if math.isnan(row["parameters"]) else f"{int(row['parameters']):,}",
                    *map(number, (row["seconds_a_step"], ratios[name], row["tokens_a_second"])),
                    *map(number, (row["peak_memory"] / 2**30, row["evaluation_seconds"], row["hours"])),
                    "–" if math.isnan(row["pscp"]) else f"{100 * row['pscp']:.2f}",
                ]
            )
        used = sorted(set().union(*devices.values()))
        remarks = [f"{'Devices' if len(used) > 1 else 'Device'}: {', '.join(used)}."] if used else []
        tables.append(Block(model_and_task(setting), hyperparameters(setting), HEADER, ALIGN, rows, remarks))
    return tables, NOTES if tables else ["No cell has a measured cost."]
