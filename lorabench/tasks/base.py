"""What a task is: examples in three splits that share nothing, one prompt function, one scorer."""

import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

from lorabench.errors import UserError
from lorabench.schema import KNOB
from lorabench.tasks.example import Example, check_ids, clusters, content_hash, words
from lorabench.tasks.faults import faults
from lorabench.tasks.prompts import Generate, completions
from lorabench.terminal.bars import note

Score = dict[str, Any]
"""What a scorer says of one completion: ``score`` in 0 … 1 counts, other numbers are reported too, texts kept.

A summary's means of them must lie in 0 … 1, and none is called ``n``, ``stderr``, ``groups``, ``mean`` or ``sets``.
Whole numbers in a ``Task.summary`` are counts (``n``, ``groups``), which no analysis takes for a score."""


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
        tested: the same of the test sets.
    """

    version: ClassVar[int] = 2
    stop: ClassVar[tuple[str, ...]] = ()
    validation: ClassVar[str] = "score"
    tested: ClassVar[str] = "score"

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

    @property
    def blank_rows(self) -> int:
        """How many rows of the training source were left out for a blank text, as far as it has been read."""
        return 0

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

    def validation_size(self, problems: int) -> int:
        """How many of the training source's problems are validated on."""
        return self.validation_samples

    def train_size(self) -> int | None:
        """Number of training examples, None where it is unknown before the data are at hand."""
        return None

    def test_size(self) -> int | None:
        """Number of test problems, None where it is unknown before the data are at hand."""
        return self.test_samples

    def evaluation_prompt(self, example: Example) -> str:
        """The prompt in evaluation; a task overrides it only where its paper appends something."""
        return self.prompt(example)

    def target(self, example: Example) -> str:
        """The text after the prompt that training teaches; the end token follows it."""
        return example.target

    def parts(self, example: Example) -> Sequence[str]:
        """The training text in parts, given and learned ones in turn: prompt and target, of a conversation more such pairs."""
        return self.prompt(example), self.target(example)

    def asked(self, example: Example) -> str:
        """What tells whether two examples ask the same: the prompt; a task of texts without prompts says another."""
        return self.prompt(example)

    def reference(self, example: Example) -> str | None:
        """A completion that the example's own gold makes right; None where there is none, or where it costs much to score.

        Unless a task says otherwise: of one that implements ``score``, the target up to a stop text. A row whose reference does
        not score 1 could never be answered: it is left out of validation, and is an error in a test set.
        """
        if not example.target or type(self).score is Task.score:
            return None
        text = self.target(example)
        for end in self.stop:
            text = text.partition(end)[0]
        return text

    def proves_itself(self, example: Example) -> bool:
        """Whether its reference, where there is one, scores 1 (to 1e-6)."""
        text = self.reference(example)
        return text is None or self.score(example, text) > 1 - 1e-6

    @cached_property
    def _split(self) -> tuple[list[Example], list[Example]]:
        """Training and validation: of the problems with the smallest hashes one example each, chosen by its hash.

        So the choice depends on neither the rows' order nor any seed. Problems that share a question, be it through others, are
        one. All other examples of such a problem are neither trained on nor scored.
        """
        source = self.source_examples()
        check_ids(self.name, source)
        scorable = self.validates(source)
        chosen: list[int] = []
        held_out: set[int] = set()
        wrong: list[Example] = []
        problems = clusters(source)
        wanted = self.validation_size(len(problems))
        for members in problems:
            if len(chosen) == wanted:
                break
            for i in sorted(scorable.intersection(members), key=lambda i: content_hash(source[i])):
                if self.validation != "score" or self.proves_itself(source[i]):
                    chosen.append(i)
                    held_out.update(members)
                    break
                wrong.append(source[i])
        passed_over = _passed_over(self.name, wrong)
        if wrong and not chosen:
            raise UserError(
                f"task={self.name}: the scorer finds no training example's own answer right, such as that of "
                f"{self.place(wrong[0])}; take another scorer, or mend the answers"
            )
        if len(chosen) < wanted:
            raise UserError(
                f"task.validation_samples={wanted} is more than the {len(chosen)} problems of the {len(source)} training "
                "examples that can be scored (one example of a problem is); give fewer, or more data" + passed_over
            )
        train = [example for i, example in enumerate(source) if i not in held_out]
        if not train:
            raise UserError(
                f"task.validation_samples={wanted} leaves nothing of {len(source)} training examples to train on; give fewer"
            )
        if passed_over:
            note(passed_over.removeprefix("; "))
        return train, [source[i] for i in sorted(chosen)]

    def train_examples(self) -> list[Example]:
        """Examples to train on."""
        return self._split[0]

    def validation_examples(self) -> list[Example]:
        """Examples to choose settings by; out of the training source, disjoint from the training examples."""
        return self._split[1]

    def place(self, example: Example) -> str:
        """Where a user finds the row of a test example: its id, and what more is known."""
        return example.id

    def published(self, name: str) -> bool:
        """Whether others know a test set as it is: its faults are told then, and not refused."""
        return False

    @cached_property
    def _test(self) -> list[Example]:
        sizes: Counter[str] = Counter()
        examples, limit = [], self.test_samples
        for example in self.all_test_examples():
            sizes[example.set] += 1
            if limit is None or sizes[example.set] <= limit:
                examples.append(example)
        check_ids(self.name, examples)
        short = [f"{name or 'the test set'} has {size}" for name, size in sizes.items() if limit is not None and size < limit]
        if short and len(short) == len(sizes):
            raise UserError(
                f"task.test_samples={limit} is more than there are ({', '.join(short)}); use task.test_samples=null for all"
            )
        for line in [f"task.test_samples={limit}: {fewer}, all of which are used" for fewer in short] + faults(self, examples):
            note(line)
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
        source = {words(self.asked(example)): example.id for example in (*self.validation_examples(), *self.train_examples())}
        test = self.test_examples()
        places = {example.id: source[text] for example in test if (text := words(self.asked(example))) in source}
        if not places:
            return None
        first = next(iter(places))
        return (
            f"task={self.name}: {len(places)} of {len(test)} test problems ({len(places) / len(test):.2%}) are in the training "
            f"data word for word, such as {first} ({places[first]}); their scores may be learned by heart"
        )


def summarize(task: Task, examples: Sequence[Example], scores: Sequence[Score]) -> dict[str, Any]:
    """Return ``{"mean", "sets"}``: the mean over the sets, and ``Task.summary`` of each set."""
    sets: dict[str, tuple[list[Example], list[Score]]] = {}
    for example, score in zip(examples, scores, strict=True):
        members, of_set = sets.setdefault(example.set or task.name, ([], []))
        members.append(example)
        of_set.append(score)
    summaries = {name: task.summary(*of_set) for name, of_set in sets.items()}
    return {"mean": sum(summary["score"] for summary in summaries.values()) / len(summaries), "sets": summaries}


def _passed_over(task: str, wrong: Sequence[Example]) -> str:
    """A clause on the rows whose own answer is wrong by the task's scorer; empty without."""
    if not wrong:
        return ""
    count = f"{len(wrong)} training rows are" if len(wrong) > 1 else "a training row is"
    first = f"{wrong[0].id} with the gold {(wrong[0].answer or wrong[0].target)[:80]!r}"
    return f"; task={task}: {count} passed over for validation, because the scorer finds their own answer wrong ({first})"
