"""EvalPlus's problems: the truth by its canonical solutions, and its verdicts on others.

EvalPlus calls a solution and compares in one process. Here what it calls asks another process, the player, for the output,
which arrives as plain data: EvalPlus's own comparison sees nothing else of the solution.
"""

import base64
import contextlib
import io
import multiprocessing
import pickle
import tempfile
from collections.abc import Callable
from functools import partial
from typing import Any

from lorabench.sandbox.peer import Peer
from lorabench.sandbox.player import Player

CAP_SECONDS, GRACE_SECONDS = 60.0, 2.0  # EvalPlus's: for all tests of a solution; for its process to start and end
OUTPUT_BYTES = 4 << 20  # of expected outputs that are kept; some problems have hundreds of megabytes
TRIAL = {
    "kind": "check",
    "dataset": "humaneval",
    "solution": "def f(x):\n    return x + 1\n",
    "entry_point": "f",
    "atol": 0,
    "timeout_factor": 10,
    "base_input": [[1]],
    "plus_input": [[2]],
    "truth": pickle.dumps({"base": [2], "base_time": [0], "plus": [3], "plus_time": [0]}),
}


class Bounded(io.BytesIO):
    """A buffer that refuses to grow beyond ``OUTPUT_BYTES``."""

    def write(self, data: Any) -> int:
        """Append, or raise OverflowError."""
        if self.tell() + len(data) > OUTPUT_BYTES:
            raise OverflowError
        return super().write(data)


def canonical_outputs(job: dict[str, Any], kind: str) -> tuple[list[Any], list[float]]:
    """Outputs of the canonical solution and the seconds that each took, by EvalPlus's ``trusted_exec``."""
    from evalplus.eval._special_oracle import MBPP_OUTPUT_NOT_NONE_TASKS
    from evalplus.gen.util import trusted_exec

    return trusted_exec(
        job["prompt"] + job["canonical_solution"],
        job[f"{kind}_input"],
        job["entry_point"],
        record_time=True,
        output_not_none=job["dataset"] == "mbpp" and job["entry_point"] in MBPP_OUTPUT_NOT_NONE_TASKS,
    )


def truth(job: dict[str, Any]) -> dict[str, Any]:
    """Times and expected outputs of both kinds of tests; large outputs are left out, and computed at each check."""
    kept = {}
    for kind in ("base", "plus"):
        outputs, kept[f"{kind}_time"] = canonical_outputs(job, kind)
        buffer = Bounded()
        with contextlib.suppress(OverflowError):
            pickle.dump(outputs, buffer)
            kept[kind] = outputs
    return {"truth": base64.b64encode(pickle.dumps(kept)).decode()}


def check(job: dict[str, Any], player: Player) -> dict[str, Any]:
    """EvalPlus's verdict on a solution for the base tests, and for the plus tests where it passed the base tests.

    Args:
        job: the problem's fields, its ``truth``, the ``solution`` and the ``timeout_factor``.
        player: runs the solution, for each kind of tests anew.
    """
    from evalplus.eval import PASS

    kept = pickle.loads(job["truth"])
    verdicts: dict[str, Any] = {"plus": None}
    for kind in ("base", "plus"):
        expected = kept[kind] if kind in kept else canonical_outputs(job, kind)[0]
        verdicts[kind] = verdict(job, kind, expected, kept[f"{kind}_time"], player)
        if verdicts[kind] != PASS:
            break
    return verdicts


def verdict(job: dict[str, Any], kind: str, expected: list[Any], seconds: list[float], player: Player) -> str:
    """EvalPlus's verdict on a solution for one kind of tests: ``pass``, ``fail`` or ``timeout``.

    As its ``untrusted_check`` with ``fast_check``, whose cap of 60 s does not grow with the other limits: here all do.

    Args:
        job: see ``check``.
        kind: ``base`` or ``plus``.
        expected: outputs of the canonical solution.
        seconds: what each of them took.
        player: runs the solution.
    """
    from evalplus import eval as evalplus
    from evalplus.config import DEFAULT_GT_TIME_LIMIT_FACTOR, DEFAULT_MIN_TIME_LIMIT

    factor, inputs = job["timeout_factor"], job[f"{kind}_input"]
    limits = [factor * max(DEFAULT_MIN_TIME_LIMIT, DEFAULT_GT_TIME_LIMIT_FACTOR * duration) for duration in seconds]
    stub = f"import multiprocessing\n{job['entry_point']} = multiprocessing.current_process().loaded()"
    fork = multiprocessing.get_context("fork")
    status, progress, passed = fork.Value("i", evalplus._UNKNOWN), fork.Value("i", 0), fork.Array("b", len(inputs))
    arguments = (job["dataset"], job["entry_point"], stub, inputs, expected, limits, job["atol"], True)
    process = fork.Process(target=evalplus.unsafe_execute, args=(*arguments, status, passed, progress))
    process.loaded = partial(_loaded, job, player, tempfile.mkdtemp())  # type: ignore[attr-defined]  # where the stub finds it
    process.start()
    process.join(min(factor * CAP_SECONDS, sum(limits)) + GRACE_SECONDS)
    process.kill()
    process.join()
    if status.value == evalplus._SUCCESS:
        return evalplus.PASS if all(passed[:]) else evalplus.FAIL
    return evalplus.FAIL if status.value == evalplus._FAILED else evalplus.TIMEOUT


def _loaded(job: dict[str, Any], player: Player, folder: str) -> Callable[..., Any]:
    """What EvalPlus takes for the solution's function: each call goes to the player, which has loaded the solution."""
    peer = Peer(player.reader, player.writer, {}, keeps=False)
    peer.ask("guard", folder, float(job["timeout_factor"]))
    peer.ask("load", job["solution"])
    return lambda *arguments: peer.ask("run", job["entry_point"], list(arguments))
