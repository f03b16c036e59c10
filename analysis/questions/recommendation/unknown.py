"""What a recommendation does not know, a short sentence each, made of the numbers at hand."""

import math

from analysis.questions.recommendation.answer import Gaps, Recommendation
from analysis.questions.recommendation.comparisons import Comparison
from analysis.questions.recommendation.configurations import Configuration, Group
from analysis.questions.recommendation.writing import called, interval, percent, scope, settings, signed
from analysis.read import REFERENCE
from analysis.stats.curves import edge
from analysis.style.numbers import exact_lr, in_points

FEW = 5
"""Seeds below which their spread is said: Student's t is 2.8 standard errors wide with five, 4.3 with three."""


def unknown(answer: Recommendation) -> list[str]:
    """The sentences; none where nothing is open."""
    if answer.chosen is None or answer.gaps is None:
        return [_nothing(answer.group), *_counts(answer)]
    return [
        *_seeds(answer.chosen),
        *_learning_rates(answer.group, answer.chosen, answer.gaps),
        *_tuned(answer),
        *_choice(answer, answer.gaps),
        *_runner_up(answer, answer.gaps),
        *_needed(answer, answer.gaps),
        *_missing(answer),
        *_left_out(answer),
        *_counts(answer),
    ]


def _nothing(group: Group) -> str:
    if not group.configurations:
        return "No cell has a validation score, and a choice by test score would flatter itself."
    if all(one.diverged == len(one.rows) for one in group.configurations):
        return "All cells diverged: try lower learning rates."
    return "No cell scores above 0 on validation."


def _seeds(chosen: Configuration) -> list[str]:
    scores = [row["test"] for row in chosen.rows]
    lines = [f"{chosen.diverged} of its {len(scores)} seeds diverged, and count as 0."] if chosen.diverged else []
    if len(scores) == 1:
        return [*lines, "One seed only: what another one would give is not known."]
    if len(scores) < FEW:
        ends = f"{percent(min(scores))} to {percent(max(scores))} %"
        lines.append(f"What training's chance does is known from {len(scores)} seeds alone: {ends} on test.")
    return lines


def _learning_rates(group: Group, chosen: Configuration, gaps: Gaps) -> list[str]:
    end = {"low": "the lowest", "high": "the highest", "both": "the only"}.get(gaps.edge)
    if end is None:
        return []
    more = " and ".join(map(exact_lr, gaps.next_lrs))
    curve = ", ".join([chosen.variant, *(settings(group, chosen) if group.several_curves(chosen) else [])])
    return [f"Of the learning rates tried with {curve}, {exact_lr(chosen.lr)} is {end}: {more} may be better."]


def _tuned(answer: Recommendation) -> list[str]:
    """A LoRA whose best learning rate is the last that was tried is not tuned."""
    if answer.tuned is None or answer.tuned.other is None:
        return []
    group, lora = answer.group, answer.tuned.other
    lrs = group.lrs(lora)
    end = {"low": "lowest", "high": "highest", "both": "only one"}.get(edge(lrs.index(lora.lr), len(lrs)))
    if end is None:
        return []
    named = ", ".join(filter(None, [lora.variant.partition(" ")[2], *settings(group, lora)]))
    curve = f" ({named})" if group.several_curves(lora) else ""
    return [f"LoRA's {exact_lr(lora.lr)} is the {end} it was tried at{curve}: tuned further, it may be better than it looks."]


def _choice(answer: Recommendation, gaps: Gaps) -> list[str]:
    tried, lines = len(answer.group.configurations), []
    if tried > 1 and gaps.several == 0:
        lines.append(f"None of the {tried} configurations has several seeds: the choice is by one validation score each.")
    elif len(gaps.pool) < tried:
        among = f"the choice was made among {len(gaps.pool)}"
        lines.append(f"Of {tried} configurations, {gaps.several} have several seeds; {among}.")
    if (better := gaps.better_outside) is not None:
        seeds = f"{len(better.seeds)} seed{'s' * (len(better.seeds) > 1)}"
        named = called(answer.group, better)
        lines.append(f"On {seeds} alone, {named} has a better validation score: {percent(better.validation)} %.")
    return lines


def _runner_up(answer: Recommendation, gaps: Gaps) -> list[str]:
    comparison, lines = answer.runner_up, []
    if comparison is None or comparison.other is None:
        return []
    verdict = comparison.verdict
    if verdict != "different" or comparison.value < 0:
        lines.append(f"The runner-up is {called(answer.group, comparison.other)}.")
        lines.append(_apart(answer, comparison))
    if gaps.validation_stderr > gaps.distance:
        lines.append(f"On validation, the runner-up is {percent(gaps.distance)} points behind.")
        size, stderr = f"{gaps.validation_problems:g}", percent(gaps.validation_stderr)
        lines.append(f"One validation score of {size} problems has a standard error of {stderr} points.")
    return lines


def _apart(answer: Recommendation, comparison: Comparison) -> str:
    if math.isnan(comparison.low):
        return f"On test, the {answer.name} less it is {signed(comparison.value)} points; nothing tells the noise."
    ends = f"{signed(comparison.value)} points, 95 % interval {interval(comparison)}{scope(comparison)}"
    words = {
        "open": f"On test, it is not told apart from the {answer.name}",
        "equivalent": f"On test, it is within ±{in_points(answer.margin)} of the {answer.name}",
        "both": f"On test, it differs by less than {in_points(answer.margin)}",
        "different": f"On test, which chose nothing, it is better than the {answer.name}",
    }
    return f"{words[comparison.verdict]}: {ends}."


def _needed(answer: Recommendation, gaps: Gaps) -> list[str]:
    """Of the first comparison that tells nothing: with the default, the tuned LoRA or the runner-up."""
    named = {"the default": answer.default, "the tuned LoRA": answer.tuned, "the runner-up": answer.runner_up}
    for name, comparison in named.items():
        if comparison is None or comparison.verdict != "open" or math.isnan(comparison.seeds_needed):
            continue
        margin = in_points(answer.margin)
        problems = f"{comparison.problems} test problems" if comparison.problems else "these problems"
        if math.isinf(comparison.seeds_needed):
            return [f"From {name}, no number of seeds would tell {margin} apart on {problems}."]
        return [f"Telling {margin} from {name} apart needs {comparison.seeds_needed:g} seeds of each on {problems}."]
    return []


def _missing(answer: Recommendation) -> list[str]:
    lines = [] if answer.untouched is not None else ["The untouched model was not measured."]
    if answer.default_missing:
        lines.append("The default was not run here.")
    loras = [one for one in answer.group.configurations if one.method == REFERENCE]
    if not loras:
        lines.append("No LoRA was run here, so that the gain over a tuned one is not known.")
    if answer.gaps is not None and answer.gaps.likelihood:
        splits = " and ".join(answer.gaps.likelihood)
        lines.append(f"The {splits} score is the likelihood of the texts: what the model writes was not judged.")
    return lines


def _left_out(answer: Recommendation) -> list[str]:
    """Seeds that one side of a comparison has alone."""
    named = {"the default": answer.default, "the tuned LoRA": answer.tuned, "the runner-up": answer.runner_up}
    lines: dict[str, None] = {}
    for name, comparison in named.items():
        if comparison is not None and comparison.left_out:
            shared = f"{comparison.seeds} seed{'s' * (comparison.seeds > 1)}"
            lines[f"The difference from {name} is of the {shared} that both have."] = None
    return list(lines)


def _counts(answer: Recommendation) -> list[str]:
    rows, failed, unvalidated = (
        [row for one in answer.group.configurations for row in one.rows], answer.group.failed, answer.group.unvalidated,
    )  # fmt: skip
    diverged, lines = sum(row["status"] == "diverged" for row in rows), []
    if diverged:
        lines.append(f"Of {len(rows)} cells, {diverged} diverged, and count as 0.")
    if failed:
        lines.append(f"Cells that failed, and are in no number: {failed}.")
    if unvalidated and rows:
        lines.append(f"Cells without a validation score, which could not be chosen: {unvalidated}.")
    return lines
