"""EvalPlus's problems, checked to be the expected version wherever their file lies."""

import gzip
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from lorabench.errors import UserError
from lorabench.sandbox.jobs import FIELDS, require_evalplus
from lorabench.tasks.sources.base import Row, Source
from lorabench.tasks.sources.local import LocalSource
from lorabench.tasks.sources.rows import read_rows


@dataclass(frozen=True)
class EvalPlusSource(Source):
    """One of EvalPlus's files.

    Attributes:
        version: EvalPlus's version of the data.
        sha256: hash of the decompressed file.
        name: ``humaneval`` or ``mbpp``.
        local: where to read it; None for EvalPlus's own cache, or its download.
    """

    required: ClassVar[tuple[str, ...]] = ("version", "sha256")

    version: str
    sha256: str
    name: str
    local: LocalSource | None = None

    def fingerprint(self, key: str) -> str:
        """Name, version and hash of the content, wherever it lies."""
        return f"evalplus-{self.name}-{self.version}/sha256:{self.sha256}"

    def load(self, key: str) -> list[Row]:
        """All problems as in the file."""
        file = self._file(key)
        try:
            raw = file.read_bytes()
            content = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
            sha256 = hashlib.sha256(content).hexdigest()
        except (OSError, EOFError, ValueError) as error:
            sha256, content = f"unreadable ({error})", b""
        if sha256 != self.sha256:
            raise UserError(
                f"{file} is not EvalPlus's {self.name} {self.version} (another version, the Mini file, or damaged: SHA-256 "
                f"{sha256[:12]}, expected {self.sha256[:12]}); fetch that version"
            )
        rows = read_rows(content, str(file))
        for row in rows:
            if absent := [name for name in ("task_id", *FIELDS) if name not in row]:
                raise UserError(f"{row.place} has no {', '.join(absent)}; give EvalPlus's own file")
        return rows

    def _file(self, key: str) -> Path:
        if self.local:
            return self.local.file(key)
        require_evalplus()
        from evalplus.data import humaneval, mbpp

        try:
            if self.name == "humaneval":
                return Path(humaneval._ready_human_eval_plus_path(version=self.version))
            return Path(mbpp._ready_mbpp_plus_path(version=self.version))
        except Exception as error:  # the downloader raises many kinds
            raise UserError(
                f"cannot get EvalPlus's {self.name} {self.version} ({type(error).__name__}); go online once (it is kept), "
                f"or give a local file with task.test.{self.name}.path=FILE"
            ) from error
