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
from lorabench.schema import KNOB, ModelConfig, decides_by
from lorabench.tasks.base import Score, Task
from lorabench.tasks.example import Example
from lorabench.tasks.own.answers import best_scores, spoken
from lorabench.tasks.own.fitting import fitting
from lorabench.tasks.own.held_out import apart, held_out
from lorabench.tasks.own.hints import hints
from lorabench.tasks.own.places import source_of
from lorabench.tasks.own.proofs import Proofs
from lorabench.tasks.own.reading import Conversation, Reader, labels_of, stated_columns, with_texts
from lorabench.tasks.own.shapes import recognise
from lorabench.tasks.own.templates import check_text, template_of
from lorabench.tasks.scorers import scorer_of, suited, versions
from lorabench.tasks.scorers.base import Scorer
from lorabench.tasks.scorers.judge import check_used
from lorabench.tasks.scorers.own import Own
from lorabench.tasks.scoring.judge import check_url, rated
from lorabench.tasks.sources.base import Source
from lorabench.tasks.sources.hub import HubSource
from lorabench.terminal.bars import note

COLUMNS = ("prompt", "response", "answers", "group", "tests")
VALIDATED, VALIDATED_SHARE = 500, 10
"""Problems of validation: a tenth of them, and at most the papers' number."""


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
        judge_url: of ``scorer=judge``, with the next four: see ``tasks.chat``.
        judge_model: the judge's name there; it has no default.
        judge_key_env: name of the environment variable that holds the key.
        judge_max_tokens: length limit of a judgement.
        judge_parallel: requests at a time.
    """

    version: ClassVar[int] = 2  # which rows are one problem

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
    judge_url: str = field(default="https://api.openai.com/v1", metadata=KNOB)
    judge_model: str | None = None
    judge_key_env: str = field(default="OPENAI_API_KEY", metadata=KNOB)
    judge_max_tokens: int = 2048
    judge_parallel: int = field(default=4, metadata=KNOB)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_url(self.judge_url)
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
        self._choices = {"scorer": self.scorer} if self.scorer else {}
        self._stated_scorer = scorer_of(self.scorer, vars(self)) if self.scorer else None
        check_used(self._stated_scorer, self.judge_model)

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
            parts.append(f"scorer={self._stated_scorer.source}")
        return " ".join([*parts, *versions(self._stated_scorer)])

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
            tokenizer.name_or_path = str(self._chat_file)  # whose template it is, in what is said of it
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
        for hint in hints(shape, columns["train"], self._stated, self._text, rows["train"][0]):
            note(f"task={self.name}: {hint}")
        name = "none" if self._text else self.template or shape.template
        template = template_of(name, lambda: self.tokenizer)
        reader = Reader(self.name, shape, template, self._text, self._stated, self._labels, self.skip_bad_rows)
        read = {name: reader.examples(of, name) for name, of in rows.items()}
        read["train"] = fitting(
            self.name, read["train"], self.tokenizer, self.max_length, cut=shape.read_whole, skip=self.skip_bad_rows
        )
        sizes = " and ".join(f"{len(examples):,} of {rows[name][0].source}" for name, examples in read.items())
        self._choices |= {"shape": f"{shape.name} ({shape.columns})", "template": text_of(self.template or shape.template)}
        note(f"task={self.name}: {sizes}, read as {self._choices['shape']}, template {self._choices['template']}")
        return read

    @cached_property
    def _marker(self) -> Scorer:
        """The scorer, after a look at the responses.

        Raises:
            UserError: it cannot score against them.
        """
        answers = [answer for examples in self._examples.values() for example in examples for answer in example.right]
        scorer, prompted = self._stated_scorer, len(self._examples["train"][0].parts[0]) > 0
        if scorer is None:
            scorer, why = suited(answers, prompted)
            note(f"task={self.name}: task.scorer={scorer.name}, since {why}")
            self._choices["scorer"] = f"{scorer.name}, since {why}"
        if scorer.generates and not prompted:
            raise UserError(f"task.scorer={self.scorer} scores answers to prompts, and plain texts have none; use loss")
        scorer.check(answers)
        return scorer

    @property
    def choices(self) -> dict[str, str]:
        """The shape, the template and the scorer that the data got, in words."""
        return {key: self._choices[key] for key in ("shape", "template", "scorer") if self._marker}

    @cached_property
    def _parted(self) -> tuple[list[Conversation], list[Conversation]]:
        """What is trained and validated on, and what is tested on."""
        train, test = self._examples["train"], self._examples.get("test")
        return held_out(self.name, train, self.test) if test is None else (apart(self.name, train, test), test)

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
        return self.validation_samples or min(VALIDATED, ceil(problems / VALIDATED_SHARE))

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

    def proves_itself(self, example: Example) -> bool:
        """As of every task, and of many rows at once where one alone costs as much."""
        return self._proofs.right(example) if self._marker.together else super().proves_itself(example)

    @cached_property
    def _proofs(self) -> Proofs:
        def prove(examples: Sequence[Example]) -> list[bool]:
            return self._marker.proofs(examples, [spoken(example.answer) for example in examples])

        return Proofs(prove, *self._parted)

    def score_all(self, examples: Sequence[Example], completions: Sequence[str]) -> list[Score]:
        """By the scorer, of several right answers the best."""
        right = [example.right for example in map(_read, examples)]
        return best_scores(self._marker, examples, right, list(map(spoken, completions)))

    def summary(self, examples: Sequence[Example], scores: Sequence[Score]) -> dict[str, Any]:
        """As of every task; of a judge over the answers that it rated, with the number of the others, ``unrated``."""
        places = rated(scores)
        judged = "unrated" in scores[0]
        kept = [{"score": scores[i]["score"]} if judged else scores[i] for i in places]
        result = super().summary([examples[i] for i in places], kept)
        return result | ({"unrated": len(scores) - len(places)} if judged else {})


def _read(example: Example) -> Conversation:
    assert isinstance(example, Conversation)
    return example
