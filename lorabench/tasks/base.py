"""What a task is: examples in three splits that share nothing, one prompt function, one scorer."""

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

from lorabench.errors import UserError
from lorabench.schema import KNOB

Generate = Callable[[Sequence[str]], list[str]]
"""Prompts to completions, with the model under evaluation and the task's own limits."""

Score = dict[str, Any]
"""What a scorer says of one completion: ``score`` in 0 … 1 counts, other numbers are reported too, texts kept beside it."""


@dataclass(frozen=True)
class Example:
    """One problem.

    Attributes:
        id: stable name within its set.
        question: what the prompt is made of.
        target: the text to learn, without the end token (empty for test problems).
        answer: the gold answer that the scorer compares with.
        set: the test set it belongs to; a task's score is the mean over its sets.
        group: examples of one group are never divided between training and validation.
    """

    id: str
    question: str
    target: str = ""
    answer: str = ""
    set: str = ""
    group: str = ""


@dataclass(kw_only=True)
class Task(ABC):
    """A task; its fields are the keys of its yaml.

    Attributes:
        version: of the task's code, raised whenever the same settings would give other data, prompts or scores; a class that
            states none in its own body is told by the hash of its source file.
        name: as on the command line.
        max_new_tokens: length limit of a generated answer.
        validation_samples: size of the validation split, taken out of the training source.
        test_samples: how many problems of each test set to use, the first ones; None for all.
        typical_tokens: mean length of a training example, for estimates before the data are at hand.
        stop: texts that end a generated answer.
        validation: ``score`` when the validation split, which comes out of the training source, can be answered and scored like
            the test problems; ``likelihood`` when it cannot, and the mean probability of its target tokens stands in.
    """

    version: ClassVar[int] = 1
    stop: ClassVar[tuple[str, ...]] = ()
    validation: ClassVar[str] = "score"

    name: str
    max_new_tokens: int
    validation_samples: int
    test_samples: int | None = None
    typical_tokens: int | None = field(default=None, metadata=KNOB)

    def __post_init__(self) -> None:
        for key in ("validation_samples", "test_samples", "max_new_tokens"):
            value = getattr(self, key)
            if value is not None and value < 1:
                raise UserError(f"task.{key}={value} must be at least 1")
        if type(self).score is Task.score and type(self).score_all is Task.score_all:
            raise TypeError(f"{type(self).__name__} implements neither score nor score_all")

    @abstractmethod
    def source_examples(self) -> Sequence[Example]:
        """The training source, before the validation split is taken out; asked once, the split is kept."""

    @abstractmethod
    def all_test_examples(self) -> Sequence[Example]:
        """All problems of all test sets; asked once, what is used of them is kept."""

    @abstractmethod
    def prompt(self, example: Example) -> str:
        """The prompt, the same in training and in evaluation."""

    def score(self, example: Example, completion: str) -> float:
        """1.0 for a right completion, 0.0 for a wrong one, or a degree between; a task implements this or ``score_all``."""
        return self.score_all([example], [completion])[0]["score"]

    def score_all(self, examples: Sequence[Example], completions: Sequence[str]) -> list[Score]:
        """Scores of many completions.

        A task implements it where scoring gains from doing many at once, or has more than one result.
        """
        return [{"score": self.score(e, c)} for e, c in zip(examples, completions, strict=True)]

    def summary(self, scores: Sequence[Score]) -> dict[str, Any]:
        """Mean score of one set with n and standard error √(Σ(x − x̄)² / (n(n − 1))), and the means of the other results."""
        values = [score["score"] for score in scores]
        n, mean = len(values), sum(values) / len(values)
        squares = sum((value - mean) ** 2 for value in values)
        result = {"score": mean, "n": n, "stderr": math.sqrt(squares / (n * (n - 1))) if n > 1 else None}
        numbers = {key for score in scores for key, value in score.items() if isinstance(value, int | float)}
        return result | {key: sum(score[key] for score in scores) / n for key in sorted(numbers - {"score"})}

    def complete(self, examples: Sequence[Example], generate: Generate) -> list[tuple[str, str]]:
        """Return prompt and completion of each example; a task of several turns overrides it."""
        prompts = [self.evaluation_prompt(example) for example in examples]
        return list(zip(prompts, generate(prompts), strict=True))

    @abstractmethod
    def fingerprint(self) -> str:
        """What the data are: a hash of their content, or hub id and revision."""

    def validates(self, source: Sequence[Example]) -> set[int]:
        """Places of the training examples that can be scored like test problems; only these enter the validation split."""
        return set(range(len(source)))

    def train_size(self) -> int | None:
        """Number of training examples, None where it is unknown before the data are at hand."""
        return None

    def evaluation_prompt(self, example: Example) -> str:
        """The prompt in evaluation; a task overrides it only where its paper appends something."""
        return self.prompt(example)

    def target(self, example: Example) -> str:
        """The text after the prompt that training teaches; the end token follows it."""
        return example.target

    @cached_property
    def _split(self) -> tuple[list[Example], list[Example]]:
        source = self.source_examples()
        groups: dict[str, list[int]] = {}
        for i, example in enumerate(source):
            groups.setdefault(example.group or example.id, []).append(i)
        scorable = self.validates(source)
        # The groups with the smallest hashes: independent of the rows' order and of every seed.
        held_out: set[int] = set()
        for group in sorted(groups, key=lambda g: hashlib.sha256(g.encode()).digest()):
            if len(held_out & scorable) >= self.validation_samples:
                break
            held_out.update(groups[group] if scorable.intersection(groups[group]) else ())
        train = [example for i, example in enumerate(source) if i not in held_out]
        validation = [source[i] for i in sorted(held_out & scorable)][: self.validation_samples]
        if not train or not validation:
            raise UserError(f"task.validation_samples={self.validation_samples} leaves nothing of {len(source)} to train on")
        return train, validation

    def train_examples(self) -> list[Example]:
        """Examples to train on."""
        return self._split[0]

    def validation_examples(self) -> list[Example]:
        """Examples to choose settings by; out of the training source, disjoint from the training examples."""
        return self._split[1]

    @cached_property
    def _test(self) -> list[Example]:
        sizes: dict[str, int] = {}
        examples = []
        for example in self.all_test_examples():
            sizes[example.set] = sizes.get(example.set, 0) + 1
            if self.test_samples is None or sizes[example.set] <= self.test_samples:
                examples.append(example)
        return examples

    def test_examples(self) -> list[Example]:
        """Problems to report on, at most ``test_samples`` of each set."""
        return self._test


def summarize(task: Task, examples: Sequence[Example], scores: Sequence[Score]) -> dict[str, Any]:
    """Return ``{"mean", "sets"}``: the mean over the sets, and ``Task.summary`` of each set."""
    sets: dict[str, list[Score]] = {}
    for example, score in zip(examples, scores, strict=True):
        sets.setdefault(example.set or task.name, []).append(score)
    summaries = {name: task.summary(values) for name, values in sets.items()}
    return {"mean": sum(summary["score"] for summary in summaries.values()) / len(summaries), "sets": summaries}
