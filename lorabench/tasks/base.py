"""What a task is: examples in three splits that share nothing, one prompt function, one scorer."""

import hashlib
import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

from lorabench.errors import PromptTooLong, UserError
from lorabench.schema import KNOB

Generate = Callable[[Sequence[str]], list[str]]
"""Prompts to completions, with the model under evaluation and the task's own limits."""

Score = dict[str, Any]
"""What a scorer says of one completion: ``score`` in 0 … 1 counts, other numbers (in 0 … 1) are reported too, texts kept.

Whole numbers in a ``Task.summary`` are counts (``n``, ``groups``), which no analysis takes for a score."""


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


@dataclass(kw_only=True)
class Task(ABC):
    """A task; its fields are the keys of its yaml.

    Attributes:
        version: of the task's code, raised whenever the same settings would give other data, prompts or scores; a class that
            states none in its own body is told by the hash of its source file.
        name: as on the command line.
        max_new_tokens: length limit of a generated answer.
        validation_samples: size of the validation split, so many problems of the training source with one example each.
        test_samples: how many problems of each test set to use, the first ones; None for all.
        typical_tokens: mean length of a training example, for estimates before the data are at hand.
        stop: texts that end a generated answer.
        validation: ``score`` when the validation split, which comes out of the training source, can be answered and scored like
            the test problems; ``likelihood`` when it cannot, and the mean probability of its target tokens stands in.
    """

    version: ClassVar[int] = 2
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

    def summary(self, examples: Sequence[Example], scores: Sequence[Score]) -> dict[str, Any]:
        """Mean score x̄ of one set, n, standard error, the number G of ``groups`` if it is smaller, and means of other results.

        Examples of one ``problem`` (two turns of a conversation, a question that a test set has twice) are not independent, so
        the error is the cluster-robust one, √(G / (G − 1) · Σ_g (Σ_{i ∈ g} (x_i − x̄))²) / n (Liang and Zeger 1986 with the
        factor of Cameron and Miller 2015, eq. 11; for language models' scores Miller 2024, arXiv 2411.00640, § 2.2). Without
        repetitions it is √(Σ(x − x̄)² / (n(n − 1))), and with groups of one size that of the mean of the groups' means.
        """
        values = [score["score"] for score in scores]
        n, mean = len(values), sum(values) / len(values)
        deviations: dict[str, float] = {}
        for example, value in zip(examples, values, strict=True):
            deviations[example.problem] = deviations.get(example.problem, 0.0) + (value - mean)
        groups, squares = len(deviations), sum(deviation**2 for deviation in deviations.values())
        stderr = math.sqrt(squares / (n * (n * (groups - 1) / groups))) if groups > 1 else None
        result = {"score": mean, "n": n, "stderr": stderr} | ({"groups": groups} if groups < n else {})
        numbers = {key for score in scores for key, value in score.items() if isinstance(value, int | float)}
        return result | {key: sum(score[key] for score in scores) / n for key in sorted(numbers - {"score"})}

    def complete(self, examples: Sequence[Example], generate: Generate) -> list[tuple[str, str]]:
        """Return prompt and completion of each example; a task of several turns overrides it."""
        prompts = [self.evaluation_prompt(example) for example in examples]
        return list(zip(prompts, completions(examples, prompts, generate), strict=True))

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
        """Training and validation: of the problems with the smallest hashes one example each, chosen by its hash.

        So the choice depends on neither the rows' order nor any seed. All other examples of such a problem, and those of
        another group that ask the same question, are neither trained on nor scored.
        """
        source, wanted = self.source_examples(), self.validation_samples
        _check_ids(self.name, source)
        scorable = self.validates(source)
        groups: dict[str, list[int]] = {}
        for i, example in enumerate(source):
            groups.setdefault(example.problem, []).append(i)
        candidates = {problem: [i for i in places if i in scorable] for problem, places in groups.items()}
        problems = sorted((problem for problem in candidates if candidates[problem]), key=_hash)
        if len(problems) < wanted:
            raise UserError(
                f"task.validation_samples={wanted} is more than the {len(problems)} problems of the {len(source)} training "
                "examples that can be scored (one example of a problem is); give fewer, or more data"
            )
        held_out = {i for problem in problems[:wanted] for i in groups[problem]}
        chosen = sorted(min(candidates[problem], key=lambda i: _content_hash(source[i])) for problem in problems[:wanted])
        validation = [source[i] for i in chosen]
        questions = {example.question for example in validation} - {""}
        train = [e for i, e in enumerate(source) if i not in held_out and e.question not in questions]
        if not train:
            raise UserError(
                f"task.validation_samples={wanted} leaves nothing of {len(source)} training examples to train on; give fewer"
            )
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
        _check_ids(self.name, examples)
        return examples

    def test_examples(self) -> list[Example]:
        """Problems to report on, at most ``test_samples`` of each set."""
        return self._test

    @cached_property
    def contamination(self) -> str | None:
        """One line on test problems whose very prompt is in the training source; None where there are none.

        Raises:
            UserError: the training source is itself the source of a test set.
        """
        source = {self.prompt(example): example.id for example in (*self.validation_examples(), *self.train_examples())}
        test = self.test_examples()
        places = {example.id: source[text] for example in test if (text := self.prompt(example)) in source}
        if not places:
            return None
        first = next(iter(places))
        return (
            f"task={self.name}: {len(places)} of {len(test)} test problems ({len(places) / len(test):.2%}) are in the training "
            f"data word for word, such as {first} ({places[first]}); their scores may be learned by heart"
        )


def completions(examples: Sequence[Example], prompts: Sequence[str], generate: Generate) -> list[str]:
    """``generate(prompts)``, where a prompt that is too long is named by its example.

    Raises:
        UserError: a prompt leaves no room for an answer.
    """
    try:
        return generate(prompts)
    except PromptTooLong as error:
        example = examples[error.place]
        raise UserError(f"problem {example.id} of {example.set or 'validation'}: {error}") from error


def summarize(task: Task, examples: Sequence[Example], scores: Sequence[Score]) -> dict[str, Any]:
    """Return ``{"mean", "sets"}``: the mean over the sets, and ``Task.summary`` of each set."""
    sets: dict[str, tuple[list[Example], list[Score]]] = {}
    for example, score in zip(examples, scores, strict=True):
        members, of_set = sets.setdefault(example.set or task.name, ([], []))
        members.append(example)
        of_set.append(score)
    summaries = {name: task.summary(*of_set) for name, of_set in sets.items()}
    return {"mean": sum(summary["score"] for summary in summaries.values()) / len(summaries), "sets": summaries}


def repeated(examples: Sequence[Example]) -> dict[str, str]:
    """``problem`` by id, for the examples that share theirs with another one of their set."""
    counts = Counter((example.set, example.problem) for example in examples)
    return {example.id: example.problem for example in examples if counts[example.set, example.problem] > 1}


def _check_ids(task: str, examples: Sequence[Example]) -> None:
    """Raise UserError where an id names two examples: completions are found by it."""
    ids = Counter(example.id for example in examples)
    if len(ids) < len(examples):
        twice = next(name for name, count in ids.items() if count > 1)
        raise UserError(f"task={task}: the id {twice} names {ids[twice]} examples; give each its own")


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def _content_hash(example: Example) -> bytes:
    return _hash(f"{example.question}\0{example.target}\0{example.answer}")
