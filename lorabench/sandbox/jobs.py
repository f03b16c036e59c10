"""Jobs for the workers: solutions of EvalPlus's problems, and the ground truth of their tests."""

import base64
import gzip
import hashlib
import json
from collections.abc import Sequence
from typing import Any

from lorabench.errors import UserError
from lorabench.files import cache_dir, replaced
from lorabench.sandbox import pool

FIELDS = ("base_input", "plus_input", "entry_point", "atol", "prompt", "canonical_solution")


def require_evalplus() -> None:
    """Raise UserError where EvalPlus is not installed."""
    try:
        import evalplus.config  # noqa: F401
    except ImportError as error:
        raise UserError("task=code needs EvalPlus: `make install-eval`") from error


def jobs_of(problems: Sequence[dict[str, Any]], dataset: str) -> list[dict[str, Any]]:
    """What a worker needs of each problem, with the inputs in the types that EvalPlus's tests use."""
    require_evalplus()
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
        sha256 = hashlib.sha256(content.encode()).hexdigest()
        files.append(cache_dir("evalplus") / f"{sha256}.pickle.gz")
    absent = [i for i, file in enumerate(files) if not file.exists()]

    def keep(index: int, answer: dict[str, Any] | None) -> None:
        i = absent[index]
        if answer is None:
            raise UserError(f"EvalPlus's own solution of {jobs[i]['name']} cannot be run on this machine")
        with replaced(files[i]) as scratch:
            scratch.write_bytes(gzip.compress(base64.b64decode(answer["truth"]), 1))

    pool.run([jobs[i] | {"kind": "truth"} for i in absent], keep, bubblewrap)
    return [gzip.decompress(file.read_bytes()) for file in files]
