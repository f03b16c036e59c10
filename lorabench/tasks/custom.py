"""Data of the user's own, by configuration: files or data sets of the hub, templates and scorers by name."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import ceil
from pathlib import Path
from typing import Any, ClassVar

from transformers import PreTrainedTokenizerBase

from lorabench.annotations import text_of
from lorabench.errors import UserError, nearest
from lorabench.files import file_hash
from lorabench.models.load import tokenizer_and_length
from lorabench.models.names import named
from lorabench.models.text import example_ids
from lorabench.schema import KNOB, ModelConfig, decides_by
from lorabench.tasks.base import Score, Task
from lorabench.tasks.example import Example, clusters, content_hash
from lorabench.tasks.own.answers import best_scores
from lorabench.tasks.own.chat import check_template
from lorabench.tasks.own.places import source_of
from lorabench.tasks.own.reading import Conversation, Reader, labels_of, stated_columns, with_texts
from lorabench.tasks.own.shapes import Shape, recognise
from lorabench.tasks.own.templates import Alpaca, Chat, Plain, Template, check_text
from lorabench.tasks.scorers import scorer_of, suited
from lorabench.tasks.scorers.base import Scorer
from lorabench.tasks.scorers.own import Own
from lorabench.tasks.sources.base import Source
from lorabench.tasks.sources.hub import HubSource
from lorabench.terminal.bars import note

COLUMNS = ("prompt", "response", "answers", "group", "tests")
SHARE, MOST = 10, 500
"""Validation: a tenth of the problems and at most 500, the papers' number."""

MINIMUM = 10
"""Problems that can be divided into training, validation and test."""


def _share(test: Any) -> Any:
    """Of ``task.test`` a share decides; other data are told by their fingerprint."""
    return test if isinstance(test, float | int) else None


@dataclass(kw_only=True)
class Custom(Task):
    """One data set, whose rows are read by their columns (``own.shapes``), written by a template and scored by name.

    Attributes:
        train: a file (JSON, JSON lines, CSV, Parquet, or gzipped), ``OWNER/NAME@COMMIT`` of the hub, or the keys of
            ``sources.hub.HubSource``.
        test: the same; or the share of the problems that is held out of ``train``.
        columns: by what they hold, ``prompt``, ``response``, ``answers`` (a list of right ones), ``group`` (rows of one
            problem, which count as one) and ``tests`` (of ``scorer=code``), where it is not told by their names; or a text
            with columns and their items in braces.
        labels: the text for each value of the response's column, by value or in order.
        template: ``chat``, ``alpaca``, ``none``, or a text with columns in braces; null for that of the data's shape.
        chat_template: a file of Jinja in the place of the tokenizer's own.
        scorer: a name of ``tasks.scorers``, ``NAME=ARGUMENT`` or ``module:function``; null for what the responses allow.
        skip_bad_rows: leave rows out that cannot be read, and count them, instead of refusing the data.
        model: of the cell, for its tokenizer.
        max_length: the trainer's.
        validation_samples: problems to validate on; null for a tenth of them, at most 500.
    """

    version: ClassVar[int] = 1

    train: Any = field(default=None, metadata=KNOB)
    test: Any = field(default=0.1, metadata=decides_by(_share))
    columns: dict[str, str | None] = field(default_factory=dict)
    labels: Any = None
    template: str | None = None
    chat_template: str | None = field(default=None, metadata=KNOB)
    scorer: str | None = None
    skip_bad_rows: bool = False
    model: Any = field(metadata=KNOB)
    max_length: int = field(metadata=KNOB)
    validation_samples: int | None = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.train is None:
            raise UserError(f"task={self.name} needs data: task.train=FILE, or OWNER/NAME@COMMIT of the hub")
        if isinstance(self.test, bool) or (isinstance(self.test, float | int) and not 0 < self.test < 1):
            raise UserError(f"task.test={self.test} must be a file, or a share in (0, 1) of the problems to hold out")
        if self.test is None:
            raise UserError("task.test=null: there would be nothing to report; give a file, or a share to hold out")
        for key in self.columns:
            if key not in COLUMNS:
                raise UserError(f"task.columns.{key} is unknown; {nearest(key, COLUMNS)}")
        self._stated = stated_columns(self.columns)
        known = self.template in (None, "chat", "alpaca", "none")
        # On a command line \\n stands for a line end.
        self._text = "" if known else str(self.template).replace("\\n", "\n")
        if self._text:
            check_text(self._text)
        self._labels = labels_of(self.labels)
        self._stated_scorer = scorer_of(self.scorer) if self.scorer else None

    @property
    def validation(self) -> str:  # type: ignore[override]
        """By likelihood where nothing is generated."""
        return "score" if self._marker.generates else "likelihood"

    @property
    def tested(self) -> str:  # type: ignore[override]
        """As validation."""
        return self.validation

    @cached_property
    def _sources(self) -> dict[str, Source]:
        sources = {"train": source_of(self.train, "task.train", "train")}
        if not isinstance(self.test, float | int):
            sources["test"] = source_of(self.test, "task.test", "test")
            if sources["test"].fingerprint("task.test") == sources["train"].fingerprint("task.train"):
                raise UserError(
                    "task.train and task.test are the same data: the model would be tested on what it was trained on; give "
                    "other data, or a share to hold out, task.test=0.1"
                )
        return sources

    def fingerprint(self) -> str:
        """Content or names and revisions of the data, of a chat template of one's own, and of a scorer of one's own."""
        parts = [f"{name}={source.fingerprint(f'task.{name}')}" for name, source in self._sources.items()]
        if self.chat_template:
            parts.append(f"chat_template=sha256:{file_hash(self._chat_file)}")
        if isinstance(self._stated_scorer, Own):
            parts.append(f"scorer=sha256:{self._stated_scorer.source}")
        return " ".join(parts)

    def published(self, name: str) -> bool:
        """Whether the test set is one of the hub, which others know as it is."""
        return isinstance(self._sources.get("test"), HubSource)

    @property
    def _chat_file(self) -> Path:
        file = Path(str(self.chat_template)).expanduser()
        if not file.is_file():
            raise UserError(f"task.chat_template={self.chat_template}: there is no such file")
        return file

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The model's, with the chat template in use."""
        tokenizer, _ = tokenizer_and_length(ModelConfig(**named(self.model)))
        if self.chat_template:
            tokenizer.chat_template = self._chat_file.read_text(encoding="utf-8")
        return tokenizer

    @cached_property
    def _examples(self) -> dict[str, list[Conversation]]:
        """All rows that can be read, by source, with a line that says how."""
        rows = {name: source.load(f"task.{name}") for name, source in self._sources.items()}
        columns = {name: with_texts(list(of[0]), self._stated, of[0].source) for name, of in rows.items()}
        shapes = {name: recognise(columns[name], self._stated, of[0].source, bool(self._text)) for name, of in rows.items()}
        shape = shapes["train"]
        if (other := shapes.get("test", shape)).columns != shape.columns:
            raise UserError(
                f"task={self.name}: {rows['train'][0].source} is read by {shape.columns}, and {rows['test'][0].source} by "
                f"{other.columns}; give both the same columns, or name them with task.columns"
            )
        template = self._template(shape)
        reader = Reader(self.name, shape, template, self._text, self._stated, self._labels, self.skip_bad_rows)
        read = {name: reader.examples(of, name) for name, of in rows.items()}
        read["train"] = self._fitting(read["train"], shape)
        sizes = " and ".join(f"{len(examples):,} of {rows[name][0].source}" for name, examples in read.items())
        written_by = text_of(self.template or shape.template)
        note(f"task={self.name}: {sizes}, read as {shape.name} ({shape.columns}), template {written_by}")
        return read

    def _template(self, shape: Shape) -> Template:
        if self._text or (name := self.template or shape.template) == "none":
            return Plain()
        if name == "alpaca":
            return Alpaca()
        check_template(self.tokenizer)
        return Chat(self.tokenizer)

    def _fitting(self, examples: list[Conversation], shape: Shape) -> list[Conversation]:
        """Those whose answers are whole within ``max_length`` tokens; plain texts may be cut.

        Raises:
            UserError: some are not.
        """
        ids = example_ids(self.tokenizer, [example.parts for example in examples])
        lengths = [len(of_example) for of_example, _ in ids]
        long = [place for place, length in enumerate(lengths) if length > self.max_length]
        if not long:
            return examples
        first = examples[long[0]]
        what = (
            f"task={self.name}: {len(long)} of {len(examples)} training rows ({len(long) / len(examples):.1%}) have more than "
            f"trainer.max_length={self.max_length} tokens, such as {first.id} ({first.place}); the longest has {max(lengths)}"
        )
        if shape.read_whole:
            note(f"{what}; they are cut there")
            return examples
        if not self.skip_bad_rows or len(long) == len(examples):
            raise UserError(
                f"{what}: their responses would be cut off; give more, or leave them out with task.skip_bad_rows=true"
            )
        note(f"{what}; they are left out (task.skip_bad_rows=true)")
        return [example for place, example in enumerate(examples) if lengths[place] <= self.max_length]

    @cached_property
    def _marker(self) -> Scorer:
        """The scorer, after a look at the responses.

        Raises:
            UserError: none of them would be right by it.
        """
        answers = [answer for examples in self._examples.values() for example in examples for answer in example.right]
        scorer = self._stated_scorer
        if scorer is None:
            scorer, why = suited(answers, prompted=len(self._examples["train"][0].parts[0]) > 0)
            note(f"task={self.name}: task.scorer={scorer.name}, since {why}")
        scorer.check(answers)
        return scorer

    @cached_property
    def _parted(self) -> tuple[list[Conversation], list[Conversation]]:
        """What is trained and validated on, and what is tested on: of each problem that is held out one row."""
        train = self._examples["train"]
        if "test" in self._examples:
            return train, self._examples["test"]
        problems = clusters(train)
        held_out = problems[len(problems) - max(1, round(self.test * len(problems))) :]
        if len(problems) < MINIMUM:
            raise UserError(f"task={self.name} has {len(problems)} problems; {MINIMUM} are the least that can be divided")
        tested = [min((train[i] for i in members), key=content_hash) for members in held_out]
        away = {i for members in held_out for i in members}
        return [example for i, example in enumerate(train) if i not in away], tested

    def source_examples(self) -> list[Conversation]:
        """All rows but those that are held out."""
        return self._parted[0]

    def all_test_examples(self) -> list[Conversation]:
        """The test file's rows, or those that are held out."""
        examples = self._parted[1]
        if not self.skip_bad_rows or not self._marker.generates:
            return examples
        right = [example for example in examples if self.proves_itself(example)]
        if len(right) < len(examples):
            wrong = next(example for example in examples if example not in right)
            note(
                f"task={self.name}: {len(examples) - len(right)} of {len(examples)} test rows are left out, because "
                f"task.scorer finds their own responses wrong, such as {self.place(wrong)} (task.skip_bad_rows=true)"
            )
        return right

    def validation_size(self, problems: int) -> int:
        """As stated, else a tenth of the problems, at most 500."""
        return self.validation_samples or min(MOST, ceil(problems / SHARE))

    def prompt(self, example: Example) -> str:
        """All parts but the last."""
        return "".join(self.parts(example)[:-1])

    def target(self, example: Example) -> str:
        """The last part."""
        return self.parts(example)[-1]

    def parts(self, example: Example) -> Sequence[str]:
        """As the template wrote them."""
        return _read(example).parts

    def asked(self, example: Example) -> str:
        """The prompt, or a plain text itself."""
        return self.prompt(example) or example.target

    def place(self, example: Example) -> str:
        """Its id, and its place in the source."""
        return f"{example.id} ({_read(example).place})"

    def reference(self, example: Example) -> str | None:
        """The response, where the scorer can be asked about it at once."""
        return example.answer if self._marker.proves else None

    def score_all(self, examples: Sequence[Example], completions: Sequence[str]) -> list[Score]:
        """By the scorer, of several right answers the best; what a model thinks aloud before ``</think>`` is no answer."""
        texts = [text.rpartition("</think>")[2] for text in completions]
        return best_scores(self._marker, examples, [example.right for example in map(_read, examples)], texts)


def _read(example: Example) -> Conversation:
    assert isinstance(example, Conversation)
    return example
