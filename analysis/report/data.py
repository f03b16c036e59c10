"""Everything that the page shows, as one tree of plain values."""

from collections.abc import Collection, Sequence
from typing import Any

import pandas as pd

from analysis.read.journals import Search
from analysis.report import further
from analysis.report.cells import cells
from analysis.report.panels import panels
from analysis.report.summary import gaps, summary
from analysis.stats import ALPHA, MARGIN
from analysis.stats.curves import BEST_RANGE
from analysis.stats.power import POWER
from analysis.style.palette import in_order


def tree(
    frame: pd.DataFrame,
    published: pd.DataFrame | None = None,
    blocks: pd.DataFrame | None = None,
    unread: str = "",
    searches: Sequence[Search] = (),
    margin: float = MARGIN,
) -> dict[str, Any]:
    """The page's data; the same records give the same tree.

    Args:
        frame: own cells, of `read.load.load_records`.
        published: cells to show beside them.
        blocks: of `read.blocks.load_blocks`.
        unread: why there are no blocks, where there should be.
        searches: of `read.journals.load_searches`.
        margin: of the equivalence tests, a fraction.
    """
    shown = _together(frame, published)
    variants = in_order(shown["variant"])
    measured = set() if blocks is None else set(blocks["variant"])
    looks = further.drawn([*variants, *measured])  # of all at once: a variant looks the same in every section
    found = panels(shown, variants, margin)
    own_sources = set(frame["source"])
    titles = _titles(found.values(), own_sources)
    # What belongs to one model and task stands together, own before published.
    order = sorted(found, key=lambda key: (titles.index(found[key]["title"]), found[key]["source"] not in own_sources))
    number = {key: i for i, key in enumerate(order)}
    shown_settings = [
        found[key] | {"own": found[key]["source"] in own_sources, "group": titles.index(found[key]["title"])} for key in order
    ]
    mine = [one for one in shown_settings if one["own"]]
    table = cells(shown, number, variants)
    sharpness = further.sharpness(frame, blocks, unread)
    if sharpness:
        sharpness["variants"] = [one for one in looks if one["name"] in measured]
    counts = {"failed": int((frame["status"] == "failed").sum()), "skipped": int(frame.attrs.get("skipped", 0))}
    return {
        "title": _title(titles, mine),
        "facts": _facts(frame),
        "summary": summary(mine, variants, margin),
        "gaps": gaps(mine, variants, table, counts),
        "margin": margin,
        "alpha": ALPHA,
        "power": POWER,
        "best_range": BEST_RANGE,
        "variants": [one for one in looks if one["name"] in set(variants)],
        "groups": titles,
        "settings": shown_settings,
        "cells": table,
        "sharpness": sharpness,
        "searches": further.searches(searches) if searches else None,
        "rules": further.rules(frame, blocks, unread),
        "answers": further.answers(frame, variants),
    }


def _together(frame: pd.DataFrame, published: pd.DataFrame | None) -> pd.DataFrame:
    """Own and published cells in order; a source that is among one's own is not shown twice."""
    others = frame.iloc[:0] if published is None else published[~published["source"].isin(set(frame["source"]))]
    both = pd.concat([frame, others], ignore_index=True) if len(others) else frame
    return both.sort_values(["model", "task", "rank", "batch_size", "variant", "lr", "seed"], kind="stable")


def _titles(found: Collection[dict[str, Any]], own: set[str]) -> list[str]:
    """Models with tasks, those with own cells first."""
    mine = [one["title"] for one in found if one["source"] in own]
    return list(dict.fromkeys([*mine, *(one["title"] for one in found)]))


def _title(titles: Sequence[str], mine: Sequence[dict[str, Any]]) -> str:
    own = list(dict.fromkeys(one["title"] for one in mine))
    return f"LoRA variants on {own[0]}" if len(own) == 1 else f"LoRA variants on {len(own)} models and tasks"


def _facts(frame: pd.DataFrame) -> list[str]:
    """What the records are: until when, from which code, versions and devices."""
    found = []
    if until := max((str(each) for each in frame["finished"].dropna() if each and each != "None"), default=""):
        utc = f"{until[:16].replace('T', ' ')} UTC"
        found.append(f"records until {utc if until.endswith('+00:00') else until}")
    for column, what in (("commit", "commits"), ("versions", "sets of versions"), ("device", "devices")):
        values = sorted({str(each) for each in frame[column].dropna() if each}) if column in frame else []
        if len(values) > 1:
            found.append(f"{len(values)} {what}")
        elif values and column == "versions":
            found += [each for each in values[0].split(", ") if each.startswith(("lorabench ", "torch "))]
        elif values:
            found.append(f"commit {values[0][:10]}" if column == "commit" else values[0])
    if sources := sorted(set(frame["source"].dropna()) - {""}):
        found.append(", ".join(sources))
    return found
