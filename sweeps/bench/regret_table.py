"""The table of a replay: simple regret with intervals over seeds, ranks, and what a question costs."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import rankdata

from sweeps.bench.intervals import LEVEL, Statistic, below, difference, interval
from sweeps.bench.landscapes import Landscape
from sweeps.numbers import ROUGH, SCORE


def text(landscapes: Sequence[Landscape], runs: Sequence[dict[str, Any]], budget: int, focus: str | None = None) -> str:
    """One Markdown table a landscape, rows in the order of the runs; ``focus`` (or the last) is compared with the others."""
    return "\n\n".join(
        _table(landscape, [run for run in runs if run["table"] == landscape.name], budget, focus) for landscape in landscapes
    )


def _table(landscape: Landscape, runs: Sequence[dict[str, Any]], budget: int, focus: str | None) -> str:
    methods = list(dict.fromkeys(run["method"] for run in runs))
    top = landscape.scores.max()
    regrets: dict[str, dict[int, np.ndarray]] = {method: {} for method in methods}
    for run in runs:
        regrets[run["method"]][run["seed"]] = top - np.maximum.accumulate(run["scores"])
    shared = sorted(set.intersection(*(set(by_seed) for by_seed in regrets.values())))
    final = {method: [float(regrets[method][seed][-1]) for seed in shared] for method in methods}
    ranks = np.mean([rankdata([final[method][i] for method in methods]) for i in range(len(shared))], axis=0)
    middle = max(budget // 2, 1)
    lines = [
        f"**{landscape.name}**: {len(landscape.space)} candidates, best {top:{SCORE}} {landscape.unit}, "
        f"{len(shared)} seeds. Simple regret [{100 * LEVEL:g} %] in {landscape.unit}, median over seeds, "
        "and at the end its mean.",
        "",
        f"| method | after {middle} | after {budget} | its mean | mean rank | seconds a question, median (largest) |",
        "| :-- | --: | --: | --: | --: | --: |",
    ]
    for method, rank in zip(methods, ranks, strict=True):
        halfway = [float(regrets[method][seed][middle - 1]) for seed in shared]
        seconds = [value for run in runs if run["method"] == method for value in run["seconds"]] or [0.0]
        cells = [method, _cell(halfway), _cell(final[method]), _cell(final[method], np.mean), f"{rank:.2f}"]
        lines.append("| " + " | ".join([*cells, f"{np.median(seconds):.2f} ({max(seconds):.1f})"]) + " |")
    lines += _shares(runs)
    if len(methods) > 1:
        lines += ["", *_against(focus if focus is not None and focus in methods else methods[-1], final)]
    return "\n".join(lines)


def _shares(runs: Sequence[dict[str, Any]]) -> list[str]:
    """The weights of a method that averages models, over all questions."""
    lines = []
    for method in dict.fromkeys(run["method"] for run in runs if "shares" in run):
        questions = [shares for run in runs if run["method"] == method for shares in run["shares"] if shares]
        means = {name: np.mean([shares[name] for shares in questions]) for name in questions[0]}
        lines.append(f"* {method} weighs its models: " + ", ".join(f"{name} {value:.2f}" for name, value in means.items()))
    return ["", *lines] if lines else []


def _against(focus: str, final: dict[str, list[float]]) -> list[str]:
    """What the method in focus lacks more, or less (negative), than each other one."""
    lines = [
        f"Regret of {focus} minus that of, differences of medians and of means over shared seeds (p: Wilcoxon's signed ranks "
        "of the seeds' differences, one-sided, that it is not below):",
        "",
    ]
    for method in [name for name in final if name != focus]:
        pair = final[focus], final[method]
        median, mean = (_with_interval(*difference(*pair, of)) for of in (np.median, np.mean))
        lines.append(f"* {method}: median {median}, mean {mean}, p = {below(*pair):.3f}")
    return lines


def _cell(values: Sequence[float], of: Statistic = np.median) -> str:
    return _with_interval(of(values), *interval(values, of))


def _with_interval(value: float, low: float, high: float) -> str:
    return f"{value:{ROUGH}} [{low:{ROUGH}}, {high:{ROUGH}}]"
