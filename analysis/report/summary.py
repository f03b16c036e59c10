"""The sentences at the top of the page, and what its records cannot tell."""

import math
from collections import Counter
from collections.abc import Sequence
from statistics import median
from typing import Any

from analysis.read import REFERENCE
from analysis.stats import ALPHA, MARGIN
from analysis.stats.curves import same_lr
from analysis.style.notes import ON_VALIDATION, Choice
from analysis.style.numbers import format_lr, in_points

SHIFTED = "pissa"
"""Always named where it is there: the variant whose shifted learning rate paper 1 (arXiv 2602.04998) is about."""


def summary(
    panels: Sequence[dict[str, Any]], variants: Sequence[str], margin: float = MARGIN, chosen_by: Choice = ON_VALIDATION
) -> list[str]:
    """What a hurried reader takes home, each sentence with its numbers; `margin` is that of the equivalence tests."""
    sentences = [
        _counts(panels),
        _peaks(panels, variants, chosen_by),
        _verdicts(panels, margin),
        _shift(panels, variants, margin),
    ]
    return [sentence for sentence in sentences if sentence]


def _counts(panels: Sequence[dict[str, Any]]) -> str:
    tried = {point[0] for panel in panels for curve in panel["curves"] for point in curve["points"]}
    names = {curve["variant"] for panel in panels for curve in panel["curves"]}
    most = max(panel["seeds"] for panel in panels)
    cells = sum(panel["cells"] for panel in panels)
    where = f"{panels[0]['title']} ({panels[0]['subtitle']})" if len(panels) == 1 else f"{len(panels)} settings"
    seeds = "one seed" if most == 1 else f"{'up to ' if len(panels) > 1 else ''}{most} seeds"
    return f"{_many(cells, 'cell')} on {where}: {_many(len(names), 'variant')}, {_many(len(tried), 'learning rate')}, {seeds}."


def _peaks(panels: Sequence[dict[str, Any]], variants: Sequence[str], chosen_by: Choice) -> str:
    several = [panel for panel in panels if len(panel["peaks"]) > 1]
    if not several:
        return ""
    best = [max(panel["peaks"], key=lambda peak: peak["peak_mean"]) for panel in several]
    spreads = [_spread(panel, "peak_mean") for panel in several]
    fair = [spread for panel in several if not math.isnan(spread := _spread(panel, "selected_mean"))]
    caveat = f" ({chosen_by.verdict})" if chosen_by.on_test else ""
    chosen = f" With learning rates of the {chosen_by.best} they {_within(fair)}{caveat}." if fair else ""
    if len(several) == 1:
        top = best[0]
        return (
            f"The highest test peak is that of {variants[top['variant']]}, {_percent(top['peak_mean'])} % at "
            f"{format_lr(top['peak_lr'])}; {_all(len(several[0]['peaks']))} peaks {_within(spreads)}.{chosen}"
        )
    counts = Counter(variants[top["variant"]] for top in best).most_common(3)
    leaders = ", ".join(f"{name}'s in {count}" for name, count in counts)
    return f"Peaks of one setting's variants {_within(spreads)}; of {len(several)} settings the highest is {leaders}.{chosen}"


def _verdicts(panels: Sequence[dict[str, Any]], margin: float) -> str:
    rows = [row for panel in panels for row in panel["differences"]["rows"]]
    if not rows:
        return ""
    counts = Counter(row["verdict"] for row in rows)
    equal = counts["equivalent"] + counts["both"]
    differ = counts["different"] + counts["both"]
    what = "variant" if len(panels) == 1 else "comparison"
    untested = sum(row["how"] == "" for row in rows)
    why = f", {untested} of them untested for want of seeds or completions" if untested else ""
    ends = f"{_are(counts['open'])} open: these data cannot tell{why}" if counts["open"] else "none is open"
    single = sum(row["how"] == "paired" and row["seeds"] == 1 and row["verdict"] != "open" for row in rows)
    scope = f" With one seed, {single} of these hold for these trained models alone." if single else ""
    return (
        f"Of {_many(len(rows), what)}, {_are(equal)} equivalent to LoRA within {in_points(margin)} (two one-sided tests at "
        f"{100 * ALPHA:g} %), {differ} differ{'s' * (differ == 1)} from it, and {ends}.{scope}"
    )


def _shift(panels: Sequence[dict[str, Any]], variants: Sequence[str], margin: float) -> str:
    """How far best learning rates are from LoRA's, and what LoRA's would cost the others.

    Of settings in which both were tried at several learning rates: of a single one the best is no finding.
    """
    ratios: dict[str, list[float]] = {}
    lost: dict[str, tuple[float, str]] = {}
    for panel in panels:
        peaks = {variants[peak["variant"]]: peak for peak in panel["peaks"]}
        if REFERENCE not in peaks:
            continue
        at = peaks[REFERENCE]["peak_lr"]
        curves = {variants[curve["variant"]]: curve["points"] for curve in panel["curves"]}
        for name, peak in peaks.items():
            if name == REFERENCE or not peak["peak_mean"] > 0 or min(len(curves[name]), len(curves[REFERENCE])) < 2:
                continue
            ratios.setdefault(name, []).append(1.0 if same_lr(peak["peak_lr"], at) else peak["peak_lr"] / at)
            there = next((point[1] for point in curves[name] if same_lr(point[0], at)), math.nan)
            loss = peak["peak_mean"] - there
            if not math.isnan(loss) and loss >= lost.get(name, (-1.0, ""))[0]:
                lost[name] = (loss, f"at LoRA's {format_lr(at)} {name} scores {_percent(there)} %")
    if not ratios:
        return ""
    by_distance = sorted(ratios, key=lambda name: (-abs(math.log(median(ratios[name]))), name))
    shifts = []
    for name in dict.fromkeys([*([SHIFTED] if SHIFTED in ratios else []), by_distance[0]]):
        of_name = ratios[name]
        below, above = sum(ratio < 1 for ratio in of_name), sum(ratio > 1 for ratio in of_name)
        often = (
            ""
            if len(of_name) == 1
            else f" (the median; below LoRA's in {below}, above it in {above} of {len(of_name)} settings)"
        )
        shifts.append(f"of {name} is {_times(median(of_name))}{often}")
    costly = max(lost.values(), default=(0.0, ""))
    worst = "at worst, " if len(panels) > 1 else ""
    cost = f"; {worst}{costly[1]}, {100 * costly[0]:.2f} points below its own peak" if costly[0] > margin else ""
    return f"The best learning rate {', that '.join(shifts)}{cost}."


def gaps(panels: Sequence[dict[str, Any]], variants: Sequence[str], cells: dict[str, Any], counts: dict[str, int]) -> list[str]:
    """What the page leaves out or cannot tell, so that no number is taken for more than it is."""
    lines = []
    total = len(panels)
    if single := sum(panel["seeds"] == 1 for panel in panels):
        lines.append(f"One seed only{_in(single, total)}: no standard deviation, and no interval knows of other seeds.")
    few = sum(peak["peak_few_seeds"] for panel in panels for peak in panel["peaks"])
    if few:
        lines.append(f"Unfinished grid: {_many(few, 'peak')} of fewer seeds than other points of the setting, marked †.")
    unvalidated = sum(all(math.isnan(peak["selected_mean"]) for peak in panel["peaks"]) for panel in panels)
    if unvalidated:
        lines.append(f"No scores to select by{_in(unvalidated, total)}: such peaks are chosen on test, which flatters them.")
    edges = [f"{variants[p['variant']]} ({p['edge']})" for panel in panels for p in panel["peaks"] if p["edge"]]
    if edges:
        named = ", ".join(edges) if len(edges) <= 12 else f"{len(edges)} of {sum(len(p['peaks']) for p in panels)}"
        lines.append(f"Peaks at the edge of the learning rates tried, so the true one may lie outside: {named}.")
    grids = sum(len({tuple(point[0] for point in curve["points"]) for curve in panel["curves"]}) > 1 for panel in panels)
    if grids:
        lines.append(f"Variants were tried at different learning rates{_in(grids, total)}: more tries, a higher best.")
    place = cells["columns"].index("status")
    statuses = [row[place] for row in cells["rows"]]
    complete = [i for i, status in enumerate(statuses) if status == "complete" and cells["details"][i] is not None]
    if without := sum(not cells["details"][i]["answers"] for i in complete):
        lines.append(f"Without completions: {_many(without, 'cell')}; differences rest on means over seeds, or are open.")
    missing = [panel["differences"]["reason"] for panel in panels if panel["differences"]["reason"]]
    if missing:
        lines.append(f"No comparison with {REFERENCE}{_in(len(missing), total)}: {missing[0]}.")
    if diverged := statuses.count("diverged"):
        lines.append(f"Diverged: {_many(diverged, 'cell')}, with a score of 0.")
    for key, what in (("failed", "left out of everything but the table of cells"), ("skipped", "unreadable, in nothing")):
        if counts.get(key):
            lines.append(f"{key.capitalize()}: {_many(counts[key], 'record')}, {what}.")
    return lines


def _in(count: int, total: int) -> str:
    return "" if count == total else f" in {count} of {total} settings"


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _are(count: int) -> str:
    return f"{count:,} {'is' if count == 1 else 'are'}"


def _all(count: int) -> str:
    return "both" if count == 2 else f"all {count}"


def _spread(panel: dict[str, Any], key: str) -> float:
    values = [peak[key] for peak in panel["peaks"]]
    return math.nan if any(map(math.isnan, values)) else max(values) - min(values)


def _within(spreads: Sequence[float]) -> str:
    """How far apart, of one setting or of several."""
    points = sorted(100 * value for value in spreads)
    if f"{points[-1]:.2f}" == "0.00":
        return "are equal"
    if len(points) == 1:
        return f"lie within {points[0]:.2f} points"
    return f"lie within {points[0]:.2f} to {points[-1]:.2f} points (median {median(points):.2f})"


def _times(ratio: float) -> str:
    return "LoRA's own" if same_lr(ratio, 1) else f"{ratio:.2g} times LoRA's"


def _percent(value: float) -> str:
    return f"{100 * value:.2f}"
