"""Rows of a data set: a local file or a pinned revision on the Hugging Face hub."""

import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from lorabench.errors import UserError
from lorabench.files import file_hash
from lorabench.schema import KNOB, decides_by
from lorabench.tasks.base import Task
from lorabench.terminal.bars import note

PLACES = ("path", "files")
"""Keys of a source that say where a local copy lies; what it holds is told by its fingerprint."""

SUFFIXES = (".jsonl", ".jsonl.gz", ".json")


@dataclass(frozen=True)
class HubSource:
    """A data set on the hub.

    Attributes:
        hub: data set id.
        revision: commit hash.
        split: name of the split.
        config: name of the configuration, or of several to read one after the other.
        data_files: files inside the repository, where it has no configuration for them.
        rows: expected number of rows; another number is an error.
    """

    hub: str
    revision: str
    split: str
    config: str | Sequence[str] | None = None
    data_files: str | None = None
    rows: int | None = None

    def fingerprint(self, key: str = "") -> str:
        """Hub id, revision, configuration or files, and split."""
        part = self.config if isinstance(self.config, str) else "+".join(self.config or ())
        return f"{self.hub}@{self.revision}/{part or self.data_files or ''}/{self.split}"

    def load(self, key: str) -> list[dict[str, Any]]:
        """Fetch the rows (or take them from the hub client's cache); ``key`` is the config key named in an error."""
        try:
            from datasets import load_dataset
            from huggingface_hub.utils import logging

            logging.set_verbosity_error()  # its retries would bury the one line below
            several = [self.config] if self.config is None or isinstance(self.config, str) else self.config
            more = {"data_files": self.data_files} if self.data_files else {}
            parts = [load_dataset(self.hub, name, split=self.split, revision=self.revision, **more) for name in several]
            rows = [row for part in parts for row in part]
        except Exception as error:  # the hub client raises many kinds: offline, gated, unknown, connection
            raise UserError(
                f"cannot get the data set {self.hub} at revision {self.revision[:8]} ({type(error).__name__}); go online once "
                f"(the hub's cache keeps it), or give local files with {key}=DIR, or use task=arithmetic, which is generated"
            ) from error
        if self.rows is not None and len(rows) != self.rows:
            raise UserError(f"{self.hub} {self.split}: {len(rows)} rows where {self.rows} are expected; is the revision right?")
        return rows


@dataclass(frozen=True)
class LocalSource:
    """A JSON-lines or JSON file, plain or gzipped, or a folder that holds it.

    Attributes:
        path: the file or the folder.
        stems: names, without suffix, that the file may have in a folder.
        rows: number of rows of the published data; a user's file may have another.
    """

    path: str
    stems: Sequence[str]
    rows: int | None = None

    def file(self, key: str) -> Path:
        """The file itself, or UserError naming what was looked for."""
        path = Path(self.path).expanduser()
        if path.is_file():
            return path
        names = [f"{stem}{suffix}" for stem in self.stems for suffix in SUFFIXES]
        for name in names:
            if (path / name).is_file():
                return path / name
        suffixes = " or ".join(SUFFIXES)
        raise UserError(
            f"{key}={self.path}: found no file {' or '.join(self.stems)} ({suffixes}); give a folder that holds one"
        )

    def fingerprint(self, key: str) -> str:
        """SHA-256 of the file."""
        return "sha256:" + file_hash(self.file(key))

    def load(self, key: str) -> list[dict[str, Any]]:
        """Read all rows."""
        file = self.file(key)
        try:
            raw = file.read_bytes()
            text = (gzip.decompress(raw) if file.suffix == ".gz" else raw).decode()
            if file.suffix != ".json":
                # One array, so that an error names the line of the file.
                text = "[" + ",\n".join(text.rstrip("\n").split("\n")) + "]"
            rows = json.loads(text)
        except (json.JSONDecodeError, UnicodeDecodeError, OSError) as error:
            raise UserError(f"{file} is not valid JSON ({error}); mend or replace it") from error
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise UserError(f"{file} must hold a list of objects, one for each example")
        return rows


def without_places(sources: Any) -> Any:
    """Of a source, or of several by name, what decides a result."""
    if not isinstance(sources, dict):
        return sources
    return {key: without_places(value) for key, value in sources.items() if key not in PLACES}


@dataclass(kw_only=True)
class SourcedTask(Task):
    """A task whose rows come from the hub at pinned revisions, or from local files.

    ``train`` and each entry of ``test`` hold the fields of ``HubSource``, or ``path`` for a local file in its place, and
    ``files``: the names, without suffix, under which a folder ``path`` may hold it (its own name unless given).

    Attributes:
        path: folder of local files instead of the hub.
        train: where training rows come from.
        test: where test rows come from, by set.
        sets: the test sets to use; None for all.
    """

    version: ClassVar[int] = 1

    path: str | None = field(default=None, metadata=KNOB)
    train: dict[str, Any] = field(default_factory=dict, metadata=decides_by(without_places))
    test: dict[str, dict[str, Any]] = field(default_factory=dict, metadata=decides_by(without_places))
    sets: list[str] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.sets, str):
            raise UserError(f"task.sets must be a list; write task.sets=[{self.sets}]")
        for name in self.sets or []:
            if name not in self.test:
                raise UserError(f"task.sets={name}: task={self.name} has no such test set; available: {', '.join(self.test)}")
        if self.sets is not None and not self.sets:
            raise UserError(f"task.sets is empty; give some of {', '.join(self.test)}, or null for all")

    @property
    def used_sets(self) -> list[str]:
        """Names of the test sets in use, in the yaml's order."""
        return [name for name in self.test if self.sets is None or name in self.sets]

    def rows(self, name: str) -> list[dict[str, Any]]:
        """All rows of ``train`` or of a test set; a local file with more or fewer rows than the published data is noted."""
        source, key = self._source(name), self._key(name)
        try:
            rows = self.own_rows(name, source.load(key))
        except UserError as error:
            others = [other for other in self.used_sets if other != name]
            if name not in self.used_sets or not others:
                raise
            raise UserError(f"{error}; or leave {name} out with task.sets=[{','.join(others)}]") from error
        if isinstance(source, LocalSource) and source.rows not in (None, len(rows)):
            note(
                f"task={self.name}: {name} has {len(rows)} rows in {source.file(key)}, and {source.rows} as published; "
                "results compare only with those on the same rows"
            )
        return rows

    def own_rows(self, name: str, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The rows of a file that belong to ``name``; a task overrides it where one file holds several sets."""
        return rows

    def _key(self, name: str) -> str:
        """The config key to name in an error about this source."""
        own = "task.train.path" if name == "train" else f"task.test.{name}.path"
        return own if self._node(name).get("path") else "task.path"

    def _node(self, name: str) -> dict[str, Any]:
        return self.train if name == "train" else self.test[name]

    def _source(self, name: str) -> HubSource | LocalSource:
        node = dict(self._node(name))
        files, path = node.pop("files", [name]), node.pop("path", None) or self.path
        return LocalSource(path, files, node.get("rows")) if path else HubSource(**node)

    def train_size(self) -> int | None:
        """The hub's rows less the validation split; about, since a group of examples stays together."""
        rows = None if self.path or self.train.get("path") else self.train.get("rows")
        return rows - self.validation_samples if rows else None

    def fingerprint(self) -> str:
        """Content hashes of the local files, or hub ids and revisions, of all sources in use."""
        return " ".join(f"{name}={self._source(name).fingerprint(self._key(name))}" for name in ["train", *self.used_sets])
