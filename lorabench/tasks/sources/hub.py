"""A data set on the Hugging Face hub, at a pinned revision."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from lorabench.errors import UserError
from lorabench.tasks.sources.base import Row, Source


@dataclass(frozen=True)
class HubSource(Source):
    """A data set on the hub.

    Attributes:
        hub: data set id.
        revision: commit hash.
        split: name of the split.
        config: name of the configuration, or of several to read one after the other.
        data_files: files inside the repository, where it has no configuration for them.
        rows: expected number of rows; another number is an error.
    """

    required: ClassVar[tuple[str, ...]] = ("hub", "revision", "split")
    optional: ClassVar[tuple[str, ...]] = ("config", "data_files", "rows")

    hub: str
    revision: str
    split: str
    config: str | Sequence[str] | None = None
    data_files: str | None = None
    rows: int | None = None

    def fingerprint(self, key: str) -> str:
        """Hub id, revision, configuration or files, and split."""
        part = self.config if isinstance(self.config, str) else "+".join(self.config or ())
        return f"{self.hub}@{self.revision}/{part or self.data_files or ''}/{self.split}"

    def load(self, key: str) -> list[Row]:
        """Fetch the rows, or take them from the hub client's cache."""
        try:
            from datasets import load_dataset
            from huggingface_hub.utils import logging

            logging.set_verbosity_error()  # its retries would bury the one line below
            configs = [self.config] if self.config is None or isinstance(self.config, str) else self.config
            files = {"data_files": self.data_files} if self.data_files else {}
            parts = {
                " ".join(filter(None, (self.hub, name, self.split))): load_dataset(
                    self.hub, name, split=self.split, revision=self.revision, **files
                )
                for name in configs
            }
            rows = [Row(row, place, f"index {i}") for place, part in parts.items() for i, row in enumerate(part)]
        except Exception as error:  # the hub client raises many kinds: offline, gated, unknown, connection
            raise UserError(
                f"cannot get the data set {self.hub} at revision {self.revision[:8]} ({type(error).__name__}); go online once "
                f"(the hub's cache keeps it), or give local files with {key}=DIR, or use task=arithmetic, which is generated"
            ) from error
        if self.rows is not None and len(rows) != self.rows:
            raise UserError(f"{self.hub} {self.split}: {len(rows)} rows where {self.rows} are expected; is the revision right?")
        return rows
