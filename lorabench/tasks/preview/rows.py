"""What is odd about the rows of a task: repeated, contradicting, in both splits, wrong by their own scorer."""

from collections.abc import Sequence

from lorabench.tasks.base import Task
from lorabench.tasks.example import Example, words

SCORED = 500
"""Training rows whose references are scored, evenly spread."""


def repetitions(task: Task, train: Sequence[Example]) -> list[str]:
    """A line on training rows that repeat another one, and one on prompts with responses that contradict each other."""
    first: dict[tuple[str, str], Example] = {}
    again: list[tuple[Example, Example]] = []
    by_prompt: dict[str, list[Example]] = {}
    for example in train:
        question = words(task.asked(example))
        key = question, words(task.target(example))
        if key in first:
            again.append((first[key], example))
            continue
        first[key] = example
        by_prompt.setdefault(question, []).append(example)
    of_prompts = [rows for rows in by_prompt.values() if len(rows) > 1]
    contrary = _contradictions(task, train, of_prompts)
    return [
        _counted(len(again), len(train), "training rows repeat another one", again and _places(task, again[0])),
        _counted(
            len(contrary), len(by_prompt), "prompts have responses that contradict", contrary and _places(task, contrary[0])
        ),
    ]


def _contradictions(
    task: Task, train: Sequence[Example], repeated: Sequence[Sequence[Example]]
) -> list[tuple[Example, Example]]:
    """Of each prompt the first row, and the first other one whose answer is wrong by it."""
    pairs = [(rows[0], later) for rows in repeated for later in rows[1:] if _gold(later) != _gold(rows[0])]
    scorable = {train[i].id for i in scorable_places(task, train)}
    texts = {later.id: text for first, later in pairs if first.id in scorable and (text := task.reference(later)) is not None}
    answered = [(first, later) for first, later in pairs if later.id in texts]
    scores = task.score_all([first for first, _ in answered], [texts[later.id] for _, later in answered]) if answered else []
    agreeing = {later.id for (_, later), score in zip(answered, scores, strict=True) if score["score"] > 1 - 1e-6}
    contrary: dict[str, tuple[Example, Example]] = {}
    for first, later in pairs:
        if later.id not in agreeing:
            contrary.setdefault(first.id, (first, later))
    return list(contrary.values())


def overlap(task: Task, train: Sequence[Example], test: Sequence[Example]) -> str:
    """A line on training rows that ask what a test problem asks."""
    tested = {words(task.asked(example)): example for example in test}
    both = [(example, tested[question]) for example in train if (question := words(task.asked(example))) in tested]
    return _counted(len(both), len(train), "training rows ask what a test problem asks", both and _places(task, both[0]))


def references(task: Task, train: Sequence[Example], test: Sequence[Example]) -> list[str]:
    """Lines on how many rows' own responses the scorer finds right."""
    places = scorable_places(task, train)
    spread = places[:: -(-len(places) // SCORED)] if places else []
    lines = []
    for name, rows in (("training", [train[i] for i in spread]), ("test", test if task.tested == "score" else [])):
        scorable = [(row, text) for row in rows if (text := task.reference(row)) is not None]
        if not scorable:
            continue
        scores = task.score_all([row for row, _ in scorable], [text for _, text in scorable])
        wrong = [row for (row, _), score in zip(scorable, scores, strict=True) if score["score"] <= 1 - 1e-6]
        share = 1 - len(wrong) / len(scorable)
        such = f"; wrong is that of {task.place(wrong[0])}" if wrong else ""
        lines.append(f"  {share:.1%} of {len(scorable):,} {name} rows' own responses are right by the scorer{such}")
    return lines or ["  no row's own response can be scored at once"]


def scorable_places(task: Task, train: Sequence[Example]) -> list[int]:
    """Places of the training rows whose references can be scored like those of test problems."""
    return sorted(task.validates(train)) if task.validation == "score" else []


def _gold(example: Example) -> str:
    return example.answer or example.target


def _places(task: Task, pair: tuple[Example, Example]) -> str:
    return " and ".join(map(task.place, pair))


def _counted(count: int, total: int, what: str, such: object) -> str:
    share = f" ({count / total:.2%})" if count else ""
    return f"  {count:,} of {total:,}{share} {what}" + (f", such as {such}" if count else "")
