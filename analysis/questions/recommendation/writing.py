"""How a configuration, a score and an interval are written in the sentences of a recommendation."""

from analysis.questions.recommendation.comparisons import Comparison
from analysis.questions.recommendation.configurations import Configuration, Group
from analysis.style.numbers import exact_lr

NAMES = {"batch_size": "batch size", "train_samples": "samples", "epochs": "epochs"}


def called(group: Group, one: Configuration) -> str:
    """`pissa at lr 2e-3, rank 8, batch size 16`: the learning rate as one types it, and what varies in the folder."""
    return ", ".join([f"{one.variant} at lr {exact_lr(one.lr)}", *settings(group, one)])


def settings(group: Group, one: Configuration) -> list[str]:
    """`rank 8` and `batch size 16`: of these what varies in the folder, and of a variant that has one its rank."""
    words = group.overrides(one)
    rest = [
        f"{NAMES.get(key, key)} {'all' if value == 'null' else value}" if key in NAMES else f"{key}={value}"
        for key, value in words.items()
        if key not in ("variant", "lr", "rank") and not key.lstrip("+").startswith("variant.")
    ]
    rank = [f"rank {words['rank']}"] if {"rank", "alpha"} & {*one.config["variant"]} else []  # full fine-tuning has none
    return [*rank, *rest]


def percent(score: float) -> str:
    """A fraction with one decimal: `86.5`."""
    return f"{100 * score:.1f}"


def signed(difference: float) -> str:
    """A fraction in points with one decimal: `+2.7`."""
    return f"{100 * difference:+.1f}"


def interval(comparison: Comparison, absolute: bool = False) -> str:
    """`-0.3 to +5.6`; of what is better or worse by so much, `absolute`, without the sign of the difference."""
    low, high = comparison.low, comparison.high
    if not absolute:
        return f"{signed(low)} to {signed(high)}"
    low, high = (low, high) if comparison.value > 0 else (-high, -low)
    return f"{percent(low)} to {percent(high)}"


def scope(comparison: Comparison) -> str:
    """What an interval is of where it is not for new seeds and new problems."""
    if comparison.how == "paired":
        return ", of these trained models alone" if comparison.seeds == 1 else ""
    return ", for new seeds alone"
