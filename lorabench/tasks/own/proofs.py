"""Which rows' own responses their scorer finds right, many at once: a process is started for them, however few they are."""

from collections.abc import Callable, Sequence

from lorabench.tasks.example import Example, clusters, content_hash

TOGETHER = 500
"""Rows that are looked at together: as many as are asked for one after the other, or nearly."""


class Proofs:
    """Answers that are asked for one by one, in the orders of a task's splits."""

    def __init__(self, prove: Callable[[Sequence[Example]], list[bool]], source: Sequence[Example], test: Sequence[Example]):
        in_order = [source[i] for members in clusters(source) for i in sorted(members, key=lambda i: content_hash(source[i]))]
        self._queues = {example.id: (queue, place) for queue in (in_order, test) for place, example in enumerate(queue)}
        self._prove = prove
        self._right: dict[str, bool] = {}

    def right(self, example: Example) -> bool:
        """Whether a row of one of the two is right by its own response."""
        if example.id not in self._right:
            queue, place = self._queues[example.id]
            several = queue[place : place + TOGETHER]
            self._right |= zip([row.id for row in several], self._prove(several), strict=True)
        return self._right[example.id]
