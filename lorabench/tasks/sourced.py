"""Tasks whose rows are read: from the hub, from GitHub, or from local files."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

from lorabench.errors import UserError
from lorabench.schema import KNOB, decides_by
from lorabench.tasks.base import Example, Task
from lorabench.tasks.sources.base import Row, Source
from lorabench.tasks.sources.github import GitHubSource
from lorabench.tasks.sources.hub import HubSource
from lorabench.tasks.sources.local import LocalSource
from lorabench.tasks.sources.node import arguments, check_node, decisive_keys, mapping
from lorabench.terminal.bars import note

SURROGATE = re.compile("[\ud800-\udfff]")
"""JSON may hold half of a pair, which no text file can."""


class Blank(UserError):
    """A row has no text where it needs one."""


def shown(value: Any) -> str:
    """A value as JSON has it, cut to a line's worth."""
    return json.dumps(value, ensure_ascii=False, default=str)[:80]


@dataclass(kw_only=True)
class SourcedTask(Task):
    """A task whose rows come from the hub or GitHub at pinned revisions, or from local files.

    ``train`` and each entry of ``test`` hold the fields of ``HubSource`` or of ``GitHubSource``, or ``path`` for a local file
    in their place, and ``files``: the names, without suffix, under which a folder ``path`` may hold it (its own name unless
    given).

    Attributes:
        set_names: the test sets that the task can read; empty for any.
        path: folder of local files instead of all of these.
        train: where training rows come from; checked by ``sources.node``, which knows of local files.
        test: where test rows come from, by set.
        sets: the test sets to use; None for all.
    """

    version: ClassVar[int] = 1
    set_names: ClassVar[tuple[str, ...]] = ()

    path: str | None = field(default=None, metadata=KNOB)
    train: Any = field(default_factory=dict, metadata=decides_by(decisive_keys))
    test: Any = field(default_factory=dict, metadata=decides_by(decisive_keys))
    sets: list[str] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self._blank_rows = 0
        if not isinstance(self.test, dict):
            raise UserError(
                f"task.test={self.test} must hold test sets by name; for a local file write task.test.NAME.path=FILE"
            )
        for name in self.test:
            if self.set_names and name not in self.set_names:
                names = ", ".join(self.set_names)
                raise UserError(f"task.test.{name}: task={self.name} has no such set; available: {names}")
        for name in self._nodes:
            check_node(self._node(name), self._kind(name), self._place(name))
        if self.sets is None:
            return
        available = ", ".join(map(str, self.test))
        for name in self.sets:
            if name not in self.test:
                raise UserError(f"task.sets={name}: task={self.name} has no such test set; available: {available}")
        if twice := [name for name in self.sets if self.sets.count(name) > 1]:
            once = ",".join(dict.fromkeys(self.sets))
            raise UserError(f"task.sets has {twice[0]} twice; a set counts once: task.sets=[{once}]")
        if not self.sets:
            raise UserError(f"task.sets is empty; give some of {available}, or null for all")

    @property
    def used_sets(self) -> list[str]:
        """Names of the test sets in use, in the yaml's order."""
        return [name for name in self.test if self.sets is None or name in self.sets]

    def rows(self, name: str) -> list[Row]:
        """All rows of ``train`` or of a test set; a local file with more or fewer rows than the published data is noted."""
        source, key = self._source(name), self._key(name)
        try:
            rows = self.own_rows(name, source.load(key))
        except UserError as error:
            rest = [used for used in self.used_sets if used != name]
            if name not in self.used_sets or not rest:
                raise
            raise UserError(f"{error}; or leave {name} out with task.sets=[{','.join(rest)}]") from error
        self._sizes[name] = len(rows)
        if isinstance(source, LocalSource) and source.rows not in (None, len(rows)):
            note(
                f"task={self.name}: {name} has {len(rows)} rows in {source.file(key)}, and {source.rows} as published; "
                "results compare only with those on the same rows"
            )
        return rows

    def own_rows(self, name: str, rows: list[Row]) -> list[Row]:
        """The rows of a file that belong to ``name``; a task overrides it where one file holds several sets."""
        return rows

    def examples(self, name: str, make: Callable[[Row, str], Example | None]) -> list[Example]:
        """What ``make`` gives of each row and its id, ``train/0``; it leaves a row out by None.

        Of ``train``, rows whose prompt or response is blank teach nothing and are left out, too, with a line that says so.
        """
        rows, examples, blank = self.rows(name), [], []
        for i, row in enumerate(rows):
            try:
                examples.append(example := make(row, f"{name}/{i}"))
                if name != "train" and example is not None:
                    self._places[example.id] = row.place
            except Blank as error:
                if name != "train":
                    raise
                blank.append(str(error))
        if len(blank) == len(rows):
            raise UserError(blank[0])
        if name == "train":
            self._blank_rows = len(blank)
        if blank:
            note(f"{blank[0]}; {len(blank)} of the {len(rows)} training rows are left out for a blank text")
        return [example for example in examples if example is not None]

    @property
    def blank_rows(self) -> int:
        """Of the last time that ``train`` was read."""
        return self._blank_rows

    def require(
        self,
        row: Row,
        name: str,
        *columns: str,
        texts: Sequence[str] | None = None,
        optional: Sequence[str] = (),
        forms: str = "",
    ) -> None:
        """Check that a row has these columns, and texts in them.

        Args:
            row: of a source.
            name: in an error, beside its place, such as ``train/0``.
            columns: that it must have.
            texts: those of them that hold texts; all unless given.
            optional: columns with texts that may be absent, null or blank.
            forms: all forms that the task can read, for the error; the columns unless given.

        Raises:
            UserError: a column is missing, or holds something else.
            Blank: a text that it must have is blank.
        """
        if not set(columns) <= row.keys():
            present = ", ".join(sorted(map(str, row))) or "none"
            raise self.mistake(row, name, f"has the columns {present}; wanted {forms or ', '.join(columns)}")
        texts = columns if texts is None else texts
        for column in (*texts, *(column for column in optional if row.get(column) is not None)):
            value = row[column]
            if not isinstance(value, str):
                raise self.mistake(row, name, f"has {column}={shown(value)}; wanted a text")
            if half := SURROGATE.search(value):
                what = f"a half of a surrogate pair (\\u{ord(half.group()):04x}) at character {half.start()}"
                raise self.mistake(row, name, f"has {what} of {column}, which is no character; mend the row")
            if column in texts and not value.strip():
                raise Blank(str(self.mistake(row, name, f"has the blank text {column}={shown(value)}")))

    @cached_property
    def _places(self) -> dict[str, str]:
        """File and line of test rows by the id of their example, as they are read."""
        return {}

    def place(self, example: Example) -> str:
        """Its id, and its place in the source."""
        place = self._places.get(example.id)
        return f"{example.id} ({place})" if place else example.id

    def published(self, name: str) -> bool:
        """Whether it comes from a pinned place, or from a file with as many rows as the published data."""
        local = self._local(name)
        return local is None or (local.rows is not None and local.rows == self._sizes.get(name))

    @cached_property
    def _sizes(self) -> dict[str, int]:
        """Numbers of rows by set, as they are read."""
        return {}

    def mistake(self, row: Row, name: str, what: str) -> UserError:
        """The error that says what is wrong with a row, by its id, and by its place in the source."""
        return UserError(f"task={self.name}: row {name} ({row.place}) {what}")

    @cached_property
    def contamination(self) -> str | None:
        """As of every task."""
        source = self._source("train").fingerprint(self._key("train"))
        for name in self.used_sets:
            if self._source(name).fingerprint(self._key(name)) == source:
                raise UserError(
                    f"{self._place('train')} and {self._place(name)} are the same data ({source}): the model would be tested "
                    "on what it was trained on; give other training data"
                )
        return super().contamination

    def train_size(self) -> int | None:
        """The published rows less the validation split; at most, since all examples of a validation problem are left out."""
        node = self._node("train")
        rows = None if self.path or node.get("path") else node.get("rows")
        return rows - self.validation_samples if rows else None

    def test_size(self) -> int | None:
        """The published rows of the sets in use; at most ``test_samples`` of each."""
        sizes = [None if self.path or node.get("path") else node.get("rows") for node in map(self._node, self.used_sets)]
        known = [size if self.test_samples is None else min(size, self.test_samples) for size in sizes if size]
        return sum(known) if len(known) == len(sizes) else None

    def fingerprint(self) -> str:
        """Content hashes of the local files, or names and revisions, of all sources in use."""
        return " ".join(f"{name}={self._source(name).fingerprint(self._key(name))}" for name in ["train", *self.used_sets])

    @property
    def _nodes(self) -> dict[str, Any]:
        """What the config says of all sources, those of sets out of use included."""
        return {"train": self.train} | self.test

    def _node(self, name: str) -> dict[str, Any]:
        """What the config says of one source."""
        return mapping(self._nodes[name], self._place(name))

    def _place(self, name: str) -> str:
        """The config key of a source."""
        return "task.train" if name == "train" else f"task.test.{name}"

    def _key(self, name: str) -> str:
        """The config key that says where a source's local file lies."""
        return f"{self._place(name)}.path" if self._node(name).get("path") else "task.path"

    def _kind(self, name: str) -> type[Source]:
        """The kind of a source where it is published."""
        return GitHubSource if "github" in self._node(name) else HubSource

    def _local(self, name: str) -> LocalSource | None:
        """The local file of a source, None where the config names none."""
        node = self._node(name)
        path = node.get("path") or self.path
        return LocalSource(path, node.get("files") or [name], node.get("rows")) if path else None

    def _source(self, name: str) -> Source:
        """Where the rows of ``train`` or of a test set come from.

        Raises:
            UserError: the config does not say it.
        """
        return self._local(name) or self._kind(name)(**arguments(self._node(name), self._kind(name), self._place(name)))
