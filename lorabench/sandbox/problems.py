"""EvalPlus's problems: their files, checked to be the expected version, and the ground truth of their tests."""

import base64
import gzip
import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lorabench.errors import UserError
from lorabench.files import cache_dir
from lorabench.sandbox import pool
from lorabench.tasks.sources import LocalSource

FIELDS = ("base_input", "plus_input", "entry_point", "atol", "prompt", "canonical_solution")


def need_evalplus() -> None:
    """Raise UserError where EvalPlus is not installed."""
    try:
        import evalplus.config  # noqa: F401
    except ImportError as error:
        raise UserError("task=code needs EvalPlus: `make install-eval`") from error


@dataclass(frozen=True)
class Problems:
    """One of EvalPlus's files.

    Attributes:
        name: ``humaneval`` or ``mbpp``.
        version: EvalPlus's version of the data.
        sha256: hash of the decompressed file.
        local: where to read it; None for EvalPlus's own cache, or its download.
    """

    name: str
    version: str
    sha256: str
    local: LocalSource | None = None

    def fingerprint(self, key: str) -> str:
        """Name, version and hash of the content, wherever it lies."""
        return f"evalplus-{self.name}-{self.version}/sha256:{self.sha256}"

    def _file(self, key: str) -> Path:
        if self.local:
            return self.local.file(key)
        need_evalplus()
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

    def load(self, key: str) -> list[dict[str, Any]]:
        """All problems as in the file, or UserError where it is not the expected one."""
        file = self._file(key)
        try:
            raw = file.read_bytes()
            data = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
            found = hashlib.sha256(data).hexdigest()
        except (OSError, EOFError, ValueError) as error:
            found, data = f"unreadable ({error})", b""
        if found != self.sha256:
            raise UserError(
                f"{file} is not EvalPlus's {self.name} {self.version} (another version, the Mini file, or damaged: SHA-256 "
                f"{found[:12]}, expected {self.sha256[:12]}); fetch that version"
            )
        return [json.loads(line) for line in data.decode().splitlines() if line.strip()]


def jobs_of(problems: Sequence[dict[str, Any]], dataset: str) -> list[dict[str, Any]]:
    """What a worker needs of each problem, with the inputs in the types that EvalPlus's tests use."""
    need_evalplus()
    from evalplus.data.mbpp import mbpp_deserialize_inputs

    jobs = []
    for problem in problems:
        job = {key: problem[key] for key in FIELDS} | {"dataset": dataset, "name": problem["task_id"]}
        if dataset == "mbpp":
            for key in ("base_input", "plus_input"):
                job[key] = mbpp_deserialize_inputs(problem["task_id"], problem[key])
        jobs.append(job)
    return jobs


def ground_truth(jobs: Sequence[dict[str, Any]], bubblewrap: bool = True) -> list[bytes]:
    """Expected outputs and times of the canonical solutions, computed in the sandbox once and kept in the cache folder.

    They stay pickled: only a worker, in the sandbox, opens them. The times, from which EvalPlus derives its time limits, are
    those of the machine and moment that filled the cache.
    """
    import evalplus

    files = []
    for job in jobs:
        content = json.dumps([evalplus.__version__, job["dataset"], {key: repr(job[key]) for key in FIELDS}])
        digest = hashlib.sha256(content.encode()).hexdigest()
        files.append(cache_dir("evalplus") / f"{digest}.pickle.gz")
    absent = [i for i, file in enumerate(files) if not file.exists()]

    def keep(index: int, answer: dict[str, Any] | None) -> None:
        i = absent[index]
        if answer is None:
            raise UserError(f"EvalPlus's own solution of {jobs[i]['name']} cannot be run on this machine")
        scratch = files[i].with_suffix(f".{os.getpid()}.tmp")
        scratch.write_bytes(gzip.compress(base64.b64decode(answer["truth"]), 1))
        os.replace(scratch, files[i])

    pool.run([jobs[i] | {"kind": "truth"} for i in absent], keep, bubblewrap)
    return [gzip.decompress(file.read_bytes()) for file in files]
