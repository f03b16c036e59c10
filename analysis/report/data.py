"""Everything that the page shows, as one tree of plain values."""

from collections.abc import Collection, Sequence
from typing import Any

import pandas as pd

from analysis.read.journals import Search
from analysis.read.metrics import TEST
from analysis.report import further
from analysis.report.cells import cells
from analysis.report.panels import panels
from analysis.report.summary import gaps, summary
from analysis.stats import ALPHA, MARGIN
from analysis.stats.curves import BEST_RANGE
from analysis.stats.power import POWER
from analysis.style.notes import TUNED_ON_TEST, choice
from analysis.style.notes import published as published_line
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
    looks = further.looks([*variants, *measured])  # of all at once: a variant looks the same in every section
    of_setting = panels(shown, variants, margin)
    own_sources = set(frame["source"])
    titles = _titles(of_setting.values(), own_sources)
    for panel in of_setting.values():
        panel |= {"own": panel["source"] in own_sources, "group": titles.index(panel["title"])}
    # What belongs to one model and task stands together, own before published.
    order = sorted(of_setting, key=lambda key: (of_setting[key]["group"], not of_setting[key]["own"]))
    number = {key: i for i, key in enumerate(order)}
    own = [of_setting[key] for key in order if of_setting[key]["own"]]
    table, chosen_by = cells(shown, number, variants), choice(frame)
    sharpness = further.sharpness(frame, blocks, unread)
    if sharpness:
        sharpness["variants"] = [look for look in looks if look["name"] in measured]
    counts = {"failed": int((frame["status"] == "failed").sum()), "skipped": int(frame.attrs.get("skipped", 0))}
    return {
        "title": _title(titles, own),
        "facts": _facts(frame),
        "summary": [*summary(own, variants, margin, chosen_by), *frame.attrs.get("scores", [])],
        "gaps": [*gaps(own, variants, table, counts), *published_line(shown["source"])],
        "metric": frame.attrs.get("metric", TEST),
        "choice": {"by": chosen_by.by, "best": chosen_by.best, "verdict": chosen_by.verdict, "on_test": chosen_by.on_test},
        "margin": margin,
        "alpha": ALPHA,
        "power": POWER,
        "best_range": BEST_RANGE,
        "variants": [look for look in looks if look["name"] in set(variants)],
        "groups": titles,
        "settings": [of_setting[key] for key in order],
        "cells": table,
        "sharpness": sharpness,
        "searches": further.searches(searches) if searches else None,
        "rules": further.rules(frame, blocks, unread),
        "answers": further.answers(frame, variants),
    }


def _together(frame: pd.DataFrame, published: pd.DataFrame | None) -> pd.DataFrame:
    """Own and published cells in order; a source that is among one's own is not shown twice."""
    beside = frame.iloc[:0] if published is None else published[~published["source"].isin(set(frame["source"]))]
    both = pd.concat([frame, beside], ignore_index=True) if len(beside) else frame.copy()
    both.attrs = dict(frame.attrs)
    return both.sort_values(["model", "task", "rank", "batch_size", "variant", "lr", "seed"], kind="stable")


def _titles(of_settings: Collection[dict[str, Any]], own: set[str]) -> list[str]:
    """Models with tasks, those with own cells first."""
    own_titles = [panel["title"] for panel in of_settings if panel["source"] in own]
    return list(dict.fromkeys([*own_titles, *(panel["title"] for panel in of_settings)]))


def _title(titles: Sequence[str], panels: Sequence[dict[str, Any]]) -> str:
    own = list(dict.fromkeys(panel["title"] for panel in panels))
    return f"LoRA variants on {own[0]}" if len(own) == 1 else f"LoRA variants on {len(own)} models and tasks"


def _facts(frame: pd.DataFrame) -> list[str]:
    """What the records are: until when, from which code, versions and devices."""
    facts = []
    if until := max((str(value) for value in frame["finished"].dropna() if value and value != "None"), default=""):
        utc = f"{until[:16].replace('T', ' ')} UTC"
        facts.append(f"records until {utc if until.endswith('+00:00') else until}")
    for column, what in (("commit", "commits"), ("versions", "sets of versions"), ("device", "devices")):
        values = sorted({str(value) for value in frame[column].dropna() if value}) if column in frame else []
        if len(values) > 1:
            facts.append(f"{len(values)} {what}")
        elif values and column == "versions":
            facts += [value for value in values[0].split(", ") if value.startswith(("lorabench ", "torch "))]
        elif values:
            facts.append(f"commit {values[0][:10]}" if column == "commit" else values[0])
    if sources := sorted(set(frame["source"].dropna()) - {""}):
        facts.append(f"{', '.join(sources)} ({TUNED_ON_TEST})")
    return facts
