"""What a reader must know of the scores of a frame, whatever is made of them."""

from collections.abc import Iterable
from typing import Any

TUNED_ON_TEST = "tuned on test"
"""Beside the name of published scores wherever they are shown."""


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
