"""What a reader must know of the scores of a frame, whatever is made of them."""

from collections.abc import Iterable
from typing import Any, NamedTuple

TUNED_ON_TEST = "tuned on test"
"""Beside the name of published scores wherever they are shown."""

OTHERWISE = " (of its best test score where there is none)"
"""What a choice falls back to."""


class Choice(NamedTuple):
    """By what a variant's best learning rate is selected.

    Attributes:
        by: the metric: `validation` and `test` are the scores of the cells' own task.
        on_test: whether it is measured on test problems, such as those of the score that is shown.
    """

    by: str = "validation"
    on_test: bool = False

    @property
    def best(self) -> str:
        """`best validation score`, `best arc_easy/acc`."""
        return f"best {self.by} score" if self.by in ("validation", "test") else f"best {self.by}"

    @property
    def verdict(self) -> str:
        """What a score that is selected so is worth."""
        return "chosen on the same test problems, so optimistic" if self.on_test else "the fair one to compare"


ON_VALIDATION = Choice()


def choice(cells: Any) -> Choice:
    """That of a frame of cells; of one that says nothing, on validation."""
    stated = getattr(cells, "attrs", {}).get("choice")
    return stated if isinstance(stated, Choice) else ON_VALIDATION


def notes(data: Any) -> list[str]:
    """A line each on a metric in the place of the test score, on published scores, and on records that were skipped.

    Args:
        data: what a kind reads; of anything but a frame of cells nothing is said.
    """
    attrs = getattr(data, "attrs", {})
    lines = list(attrs.get("scores", []))
    if "source" in data:
        lines += published(data["source"])
    return [*lines, f"Left out, unreadable: {attrs['skipped']}."] if attrs.get("skipped") else lines


def published(sources: Iterable[Any]) -> list[str]:
    """The line on published scores, "" and NA being those of own cells; none without any.

    >>> published(["", "arXiv 2602.04998"])
    ['arXiv 2602.04998: tuned on test, where own cells may be selected on validation, so its best scores are flattered.']
    """
    names = sorted({source for source in sources if isinstance(source, str) and source})
    if not names:
        return []
    whose = "its" if len(names) == 1 else "their"
    meaning = f"where own cells may be selected on validation, so {whose} best scores are flattered"
    return [f"{', '.join(names)}: {TUNED_ON_TEST}, {meaning}."]
