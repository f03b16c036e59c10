"""A data set in a file of the user's."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lorabench.errors import UserError
from lorabench.files import file_hash
from lorabench.tasks.sources.base import Row, Source
from lorabench.tasks.sources.rows import read_rows

SUFFIXES = (".jsonl", ".jsonl.gz", ".json")


@dataclass(frozen=True)
class LocalSource(Source):
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
        for name in [f"{stem}{suffix}" for stem in self.stems for suffix in SUFFIXES]:
            if (path / name).is_file():
                return path / name
        suffixes = " or ".join(SUFFIXES)
        raise UserError(
            f"{key}={self.path}: found no file {' or '.join(self.stems)} ({suffixes}); give a folder that holds one"
        )

    def fingerprint(self, key: str) -> str:
        """SHA-256 of the file."""
        return "sha256:" + file_hash(self.file(key))

    def load(self, key: str) -> list[Row]:
        """Read all rows."""
        file = self.file(key)
        try:
            raw = file.read_bytes()
        except OSError as error:
            raise UserError(f"{file} cannot be read ({error.strerror}); mend or replace it") from error
        return read_rows(raw, str(file))
