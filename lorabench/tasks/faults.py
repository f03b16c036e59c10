"""What is wrong with the rows of a test set: golds that nothing can meet, and questions asked twice.

In a set of the user's own such golds are errors. A published one is what it is: a line says what to know of its scores.
"""

from collections.abc import Sequence
from typing import Protocol

from lorabench.errors import UserError
from lorabench.tasks.example import Example, words


class Scorer(Protocol):
    """What is asked of a task."""

    name: str

    def reference(self, example: Example) -> str | None:
        """A completion that the gold makes right."""

    def score(self, example: Example, completion: str) -> float:
        """Of one completion."""

    def proves_itself(self, example: Example) -> bool:
        """Whether the reference scores 1."""

    def place(self, example: Example) -> str:
        """Where a user finds the row."""

    def published(self, name: str) -> bool:
        """Whether others know a test set."""


def faults(task: Scorer, examples: Sequence[Example]) -> list[str]:
    """A line for each kind of fault of each test set.

    Raises:
        UserError: a gold that nothing can meet, or two golds of one question, in a set that is not published.
    """
    sets: dict[str, list[Example]] = {}
    for example in examples:
        sets.setdefault(example.set, []).append(example)
    lines = []
    for name, members in sets.items():
        published = task.published(name)
        unmet = [example for example in members if not task.proves_itself(example)]
        if unmet and not published:
            raise UserError(f"task={task.name}: row {_gold(task, unmet[0])}, which the scorer finds wrong itself; mend the row")
        if unmet:
            lines.append(
                f"task={task.name}: {len(unmet)} of {len(members)} golds of {name} can be met by no answer, such as "
                f"{_gold(task, unmet[0])}; they are scored as published"
            )
        lines += _repetitions(task, name, members, published)
    return lines


def _repetitions(task: Scorer, name: str, members: Sequence[Example], published: bool) -> list[str]:
    """A line where a set asks a question of a group more than once."""
    rows_of: dict[tuple[str, str], list[Example]] = {}
    for example in members:
        if example.question:
            rows_of.setdefault((words(example.group), words(example.question)), []).append(example)
    repeated = [rows for rows in rows_of.values() if len(rows) > 1]
    if not repeated:
        return []
    against = [pair for rows in repeated if (pair := _contradiction(task, rows))]
    if against and not published:
        first, second = (_gold(task, example) for example in against[0])
        raise UserError(f"task={task.name}: rows {first} and {second} ask the same question; mend one or take it out")
    contrary = f", {len(against)} of them with golds that contradict each other" if against else ""
    first, second = (task.place(example) for example in (against or repeated)[0][:2])
    return [
        f"task={task.name}: {name or 'the test set'} asks {len(repeated)} of its {len(rows_of)} questions more than once"
        f"{contrary}, such as in {first} and {second}; each row counts in the mean, each question once in the standard error"
    ]


def _contradiction(task: Scorer, rows: Sequence[Example]) -> tuple[Example, Example] | None:
    """The first row of one question, and the next whose gold is wrong by its scorer; None where all agree."""
    for later in rows[1:]:
        text = task.reference(later)
        if later.answer != rows[0].answer and text is not None and task.score(rows[0], text) < 1:
            return rows[0], later
    return None


def _gold(task: Scorer, example: Example) -> str:
    return f"{task.place(example)} with the gold {(example.answer or example.target)[:80]!r}"
