"""Rows of a data set: a local file or a pinned revision on the Hugging Face hub."""

import gzip
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lorabench.cache import file_hash
from lorabench.errors import UserError

SUFFIXES = (".jsonl", ".jsonl.gz", ".json")


@dataclass(frozen=True)
class HubSource:
    """A data set on the hub.

    Attributes:
        hub: data set id.
        revision: commit hash.
        split: name of the split.
        config: name of the configuration, where the data set has several.
        rows: expected number of rows; another number is an error.
    """

    hub: str
    revision: str
    split: str
    config: str | None = None
    rows: int | None = None

    def fingerprint(self) -> str:
        """Hub id, revision and split."""
        return f"{self.hub}@{self.revision}/{self.config or ''}/{self.split}"

    def load(self, key: str) -> list[dict[str, Any]]:
        """Fetch the rows (or take them from the hub client's cache); ``key`` is the config key named in an error."""
        try:
            from datasets import load_dataset
            from huggingface_hub.utils import logging

            logging.set_verbosity_error()  # its retries would bury the one line below
            rows = list(load_dataset(self.hub, self.config, split=self.split, revision=self.revision))
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
    """A JSON-lines or JSON file, plain or gzipped, or a folder that holds it under a split's name."""

    path: str
    stem: str

    def file(self, key: str) -> Path:
        """The file itself, or UserError naming what was looked for."""
        path = Path(self.path).expanduser()
        if path.is_file():
            return path
        for suffix in SUFFIXES:
            if (path / f"{self.stem}{suffix}").is_file():
                return path / f"{self.stem}{suffix}"
        wanted = ", ".join(f"{self.stem}{suffix}" for suffix in SUFFIXES)
        raise UserError(f"{key}={self.path}: found none of {wanted}; give a folder that holds one of them")

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
