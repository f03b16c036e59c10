"""JSON files of a GitHub repository at a commit, for data sets that are on no hub."""

import json
import os
import urllib.request
from dataclasses import dataclass
from typing import Any

from lorabench.errors import UserError
from lorabench.files import cache_dir
from lorabench.tasks.sources import HubSource

RAW = "https://raw.githubusercontent.com"


@dataclass(frozen=True)
class GitHubSource(HubSource):
    """As ``HubSource``, with ``hub`` the repository's owner/name and ``data_files`` the one file; the cache folder keeps it."""

    def load(self, key: str) -> list[dict[str, Any]]:
        """Fetch the rows, or take them from the cache; ``key`` is the config key named in an error."""
        assert self.data_files
        file = cache_dir("github", *self.hub.split("/"), self.revision) / self.data_files.replace("/", "_")
        if not file.is_file():
            url = f"{RAW}/{self.hub}/{self.revision}/{self.data_files}"
            try:
                with urllib.request.urlopen(url, timeout=60) as answer:
                    content = answer.read()
            except OSError as error:
                reason = getattr(error, "reason", None) or error
                raise UserError(
                    f"cannot get {url} ({reason}); go online once (the cache folder keeps it), "
                    f"or give a folder of these files with {key}=DIR, or use task=arithmetic, which is generated"
                ) from error
            self._rows(content)  # before it is kept
            scratch = file.with_name(f"{file.name}.{os.getpid()}.tmp")
            scratch.write_bytes(content)
            os.replace(scratch, file)
        return self._rows(file.read_bytes())

    def _rows(self, content: bytes) -> list[dict[str, Any]]:
        try:
            rows = json.loads(content)
        except ValueError as error:
            raise UserError(f"{self.hub} {self.data_files} is not valid JSON ({error}); is the revision right?") from error
        if self.rows not in (None, len(rows)):
            raise UserError(
                f"{self.hub} {self.data_files}: {len(rows)} rows where {self.rows} are expected; is the revision right?"
            )
        return rows
