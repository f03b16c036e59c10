"""JSON files of a GitHub repository at a commit, for data sets that are on no hub."""

import http.client
import urllib.request
from dataclasses import dataclass
from typing import ClassVar

from lorabench.errors import UserError
from lorabench.files import cache_dir, replaced
from lorabench.tasks.sources.base import Row, Source
from lorabench.tasks.sources.rows import read_rows

RAW = "https://raw.githubusercontent.com"


@dataclass(frozen=True)
class GitHubSource(Source):
    """One file of a repository; the cache folder keeps it.

    Attributes:
        github: owner/name of the repository.
        revision: commit hash.
        data_files: the file inside the repository.
        rows: expected number of rows; another number is an error.
    """

    required: ClassVar[tuple[str, ...]] = ("github", "revision", "data_files")
    optional: ClassVar[tuple[str, ...]] = ("rows",)

    github: str
    revision: str
    data_files: str
    rows: int | None = None

    def fingerprint(self, key: str) -> str:
        """Repository, commit and file."""
        return f"{self.github}@{self.revision}/{self.data_files}/"

    def load(self, key: str) -> list[Row]:
        """Fetch the rows, or take them from the cache."""
        file = cache_dir("github", *self.github.split("/"), self.revision) / self.data_files.replace("/", "_")
        if not file.is_file():
            url = f"{RAW}/{self.github}/{self.revision}/{self.data_files}"
            try:
                with urllib.request.urlopen(url, timeout=60) as answer:
                    content = answer.read()
            except (OSError, http.client.HTTPException) as error:
                reason = getattr(error, "reason", None) or error
                raise UserError(
                    f"cannot get {url} ({reason}); go online once (the cache folder keeps it), "
                    f"or give a folder of these files with {key}=DIR, or use task=arithmetic, which is generated"
                ) from error
            self._parse(content)  # before it is kept
            with replaced(file) as scratch:
                scratch.write_bytes(content)
        return self._parse(file.read_bytes())

    def _parse(self, content: bytes) -> list[Row]:
        place = f"{self.github} {self.data_files}"
        rows = read_rows(content, place)
        if self.rows not in (None, len(rows)):
            raise UserError(f"{place}: {len(rows)} rows where {self.rows} are expected; is the revision right?")
        return rows
