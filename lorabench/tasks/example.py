"""One problem, and which of many are not independent."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from lorabench.errors import UserError


@dataclass(frozen=True)
class Example:
    """One problem.

    Attributes:
        id: stable name within its set.
        question: what the prompt is made of.
        target: the text to learn, without the end token (empty for test problems).
        answer: the gold answer that the scorer compares with.
        set: the test set it belongs to; a task's score is the mean over its sets.
        group: examples of one group are never divided between training and validation, and count once in a standard error.
    """

    id: str
    question: str
    target: str = ""
    answer: str = ""
    set: str = ""
    group: str = ""

    @property
    def problem(self) -> str:
        """What is asked, the same for examples that are not independent: the group, else the question, else the id."""
        return self.group or self.question or self.id

    @property
    def links(self) -> tuple[str, ...]:
        """Texts of which examples of one problem share one at least."""
        return (self.question,) if self.question else ()


def words(text: str) -> str:
    """The text with one space between its words: what differs in spaces and line ends asks the same."""
    return " ".join(text.split())


def repeated(examples: Sequence[Example]) -> dict[str, str]:
    """``problem`` by id, for the examples that share theirs with another one of their set."""
    counts = Counter((example.set, example.problem) for example in examples)
    return {example.id: example.problem for example in examples if counts[example.set, example.problem] > 1}


def clusters(examples: Sequence[Example]) -> list[list[int]]:
    """Places of the examples that share a problem or a link, be it through others; in an order that hashes decide.

    The parts of the graph that links each example with its problem and with its ``links``, by union-find.
    """
    parents: dict[tuple[str, str], tuple[str, str]] = {}

    def root(node: tuple[str, str]) -> tuple[str, str]:
        while (parent := parents.setdefault(node, node)) != node:
            parents[node] = node = parents[parent]  # halves the way for the next one
        return node

    for example in examples:
        for link in example.links:
            parents[root(("link", link))] = root(("problem", example.problem))
    members: dict[tuple[str, str], list[int]] = {}
    for i, example in enumerate(examples):
        members.setdefault(root(("problem", example.problem)), []).append(i)

    def order(places: list[int]) -> bytes:
        """By what is asked as it is written: a normal form puts rows together, and moves none to another split."""
        return min(_hash(text) for text in {e.group or e.question or e.problem for e in map(examples.__getitem__, places)})

    return sorted(members.values(), key=order)


def content_hash(example: Example) -> bytes:
    """Of what it asks and answers, whatever its place and name."""
    return _hash(f"{example.question}\0{example.target}\0{example.answer}")


def check_ids(task: str, examples: Sequence[Example]) -> None:
    """Raise UserError where an id names two examples: completions are found by it."""
    ids = Counter(example.id for example in examples)
    if len(ids) < len(examples):
        twice = next(name for name, count in ids.items() if count > 1)
        raise UserError(f"task={task}: the id {twice} names {ids[twice]} examples; give each its own")


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
