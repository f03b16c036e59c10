"""A recommendation as one paragraph of plain sentences; each says a number at hand, and none has 25 words."""

import math
import shutil
import textwrap
from collections.abc import Sequence

from analysis.questions.recommendation.answer import Recommendation
from analysis.questions.recommendation.comparisons import Comparison
from analysis.questions.recommendation.configurations import Configuration, Group
from analysis.questions.recommendation.unknown import unknown
from analysis.questions.recommendation.writing import called, interval, percent, scope, settings, signed
from analysis.style.numbers import exact_lr, in_points, probability
from analysis.style.rendering import WIDTH
from analysis.style.settings import model_and_task

OF_SCORE = {
    "problems and seeds": "for new seeds and problems",
    "problems": "for new problems, with this one seed",
    "seeds": "for new seeds, on these problems",
}
"""By how an interval was made what it is of."""


def text(recommendations: Sequence[Recommendation]) -> str:
    """A title and a paragraph for each, as wide as the terminal."""
    width = min(shutil.get_terminal_size((WIDTH, 24)).columns, WIDTH)
    parts = []
    for answer in recommendations:
        paragraph = textwrap.fill(" ".join(sentences(answer)), width, break_long_words=False, break_on_hyphens=False)
        parts.append(f"{title(answer.group)}\n{paragraph}\n")
    return "\n".join(parts)


def title(group: Group) -> str:
    """`tiny · arithmetic`, with what else sets its scores apart."""
    name = model_and_task({"model": group.model, "weights": group.weights, "task": group.task})
    return f"{name} · {group.measured}" if group.measured else name


def sentences(answer: Recommendation) -> list[str]:
    """The paragraph, a sentence each."""
    gaps = unknown(answer)
    if answer.chosen is None:
        return ["Nothing can be recommended.", *gaps]
    lines = [*_choice(answer, answer.chosen), _score(answer, answer.chosen), *_comparisons(answer)]
    return [*lines, "This is not known:", *gaps] if gaps else lines


def _choice(answer: Recommendation, chosen: Configuration) -> list[str]:
    pool = len(answer.gaps.pool) if answer.gaps else 1
    seeds = " with several seeds" if len(chosen.seeds) > 1 else ""
    score = f"{percent(chosen.validation)} %"
    use = [f"Use {called(answer.group, chosen)}."]
    if answer.untouched_better:
        numbers = f"{percent(chosen.untouched)} % on validation, the best of what was tried {score}"
        use = [f"Train nothing: the untouched model is better, {numbers}.", f"That best is {called(answer.group, chosen)}."]
    if pool == 1:
        again = " and run again" if answer.group.searched and not seeds else ""
        lines = [*use, f"It is the only configuration tried{again}{seeds}; its validation score is {score}."]
    else:
        lines = [*use, f"Its validation score, {score}, is the best of {pool} configurations{seeds}."]
    return [*lines, *_searched(answer.group, chosen)]


def _searched(group: Group, chosen: Configuration) -> list[str]:
    if not group.searched:
        return []
    counts = sorted({len(one.seeds) for one in group.searched})
    seeds = "one seed" if counts == [1] else f"{' to '.join(map(str, dict.fromkeys((counts[0], counts[-1]))))} seeds"
    among = f"{len(group.searched)} configurations of {seeds} each"
    if any((one.curve, one.lr) == (chosen.curve, chosen.lr) for one in group.searched):
        return [f"Before that, it was chosen among {among}."]
    return [f"It is none of those that were searched: {among}."]


def _score(answer: Recommendation, chosen: Configuration) -> str:
    scores = f"On test, which chose nothing, it scores {percent(chosen.test)} %"
    if math.isnan(answer.score.low):
        return f"{scores}; nothing tells the interval."
    seeds = "" if len(chosen.seeds) == 1 else f" ({len(chosen.seeds)} seeds)"
    ends = f"{percent(answer.score.low)} to {percent(answer.score.high)} %"
    return f"{scores}, 95 % interval {ends}, {OF_SCORE[answer.score.how]}{seeds}."


def _comparisons(answer: Recommendation) -> list[str]:
    lines, group, default, tuned = [], answer.group, answer.default, answer.tuned
    if answer.untouched is not None:
        lines += [f"The untouched model scores {percent(answer.untouched.score)} %.", _verdict(answer, answer.untouched)]
    if default is not None and default.how == "same":
        lines.append("This is the default itself: the default is already the best that was tried.")
    elif default is not None and default.other is not None:
        lines += [f"The default, {called(group, default.other)}, scores {percent(default.score)} %.", _verdict(answer, default)]
    if tuned is None or tuned.other is None:
        return lines
    if default is not None and tuned.other is default.other:
        return [*lines, "That default is also the LoRA of the best validation score."]
    rates = len(group.lrs(tuned.other))
    best = f"the best of the {rates} learning rates it was tried at" if rates > 1 else "the one learning rate it was tried at"
    where = ", ".join([f"lr {exact_lr(tuned.other.lr)}", *settings(group, tuned.other)])
    return [*lines, f"LoRA at {best}, {where}, scores {percent(tuned.score)} %.", _verdict(answer, tuned)]


def _verdict(answer: Recommendation, comparison: Comparison) -> str:
    value, margin = comparison.value, in_points(answer.margin)
    if math.isnan(comparison.low):
        return f"The difference is {signed(value)} points; nothing tells its noise."
    better = "better" if value > 0 else "worse"
    size, ends = f"{abs(100 * value):.1f}", interval(comparison, absolute=True)
    of = scope(comparison)
    if comparison.verdict == "different":
        return f"The {answer.name} is {better} by {size} points, 95 % interval {ends}{of}."
    if comparison.verdict == "both":
        return f"The {answer.name} is {better}, by less than {margin}: {size}, 95 % interval {ends}{of}."
    ends = interval(comparison)
    if comparison.verdict == "equivalent":
        return f"The two are within ±{margin}: {signed(value)} points, 95 % interval {ends}{of}."
    corrected = comparison.low > 0 or comparison.high < 0
    after = f" (p = {probability(comparison.p_different)} after Holm)" if corrected else ""
    return f"The two are not told apart{after}: {signed(value)} points, 95 % interval {ends}{of}."
