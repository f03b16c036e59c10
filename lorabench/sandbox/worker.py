"""The process inside the sandbox: reads jobs, runs each in a child of its own, and answers in JSON lines.

Jobs come pickled, which is safe in this direction; answers are JSON, since what generated code may have touched must not be
unpickled outside. The ground truth is computed here too, and is for the outside a piece of opaque bytes.
"""

import base64
import contextlib
import io
import json
import multiprocessing
import os
import pickle
import struct
import sys
from collections.abc import Callable
from multiprocessing.util import get_temp_dir
from pathlib import Path
from typing import Any, BinaryIO

from lorabench.sandbox import asserts, kernel, seccomp

PRIVATE_UID = 1 << 30  # plus the process id: a user that nobody else is, so that its processes can be counted
NOBODY = 65534
SHARED_MEMORY = "/dev/shm"  # inside bubblewrap the worker's own, and the one other folder to write
CAP_SECONDS, GRACE_SECONDS = 60.0, 2.0  # EvalPlus's: for all tests of a solution; for its process to start and end
OUTPUT_BYTES = 4 << 20  # of expected outputs that are kept; some problems have hundreds of megabytes


class Sandbox:
    """What this worker does to each child at the fork.

    Attributes:
        folder: the temporary folder, the only place to write.
        missing: protections that the kernel did not grant.
        patience: multiplies the limit on the CPU time of a child.
        arenas: multiprocessing's own folder inside ``folder``; emptied, never missing.
    """

    def __init__(self, folder: str, walls: bool) -> None:
        self.folder, self.walls = folder, walls
        self.worker, self.threads = os.getpid(), 0
        self.channels: list[BinaryIO] = []
        self.network = self.bounded = False
        self.missing: list[str] = []
        self.patience = 1.0
        self.arenas = ""

    def enter(self) -> None:
        """Protect the worker itself: no orphan escapes it, and without bubblewrap it gives up rights and network."""
        kernel.die_with_parent()
        kernel.adopt_orphans()
        self.network = self.walls or kernel.leave_network()
        if not self.walls and os.getuid() == 0:
            self._leave_root()
            kernel.die_with_parent()  # the kernel forgets that with a change of user
        self.bounded = os.getuid() != 0 and not self.walls
        self.threads = kernel.user_threads() if self.bounded else 0
        with contextlib.suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text("1000")  # the first to go when memory runs out
        kernel.hide()
        os.register_at_fork(after_in_child=self.confine)
        self.arenas = get_temp_dir()  # made once: multiprocessing's, for memory that it shares with children

    def _leave_root(self) -> None:
        for uid in (PRIVATE_UID + os.getpid(), NOBODY):
            if self._can_read(uid):
                os.chown(self.folder, uid, uid)
                kernel.drop_privileges(uid)
                return
        kernel.drop_capabilities()  # Python lies where only root can read it

    def _can_read(self, uid: int) -> bool:
        """Whether that user could import all that this process can (a solution may import anything)."""
        pid = os.fork()
        if pid == 0:
            places = [*filter(os.path.isdir, sys.path), os.path.dirname(self.folder)]
            allowed = kernel.drop_privileges(uid)
            os._exit(0 if allowed and all(os.access(place, os.R_OK | os.X_OK) for place in places) else 1)
        return os.waitpid(pid, 0)[1] == 0

    def confine(self) -> None:
        """Run in every child, before anything else: close what leads out, and lower all limits for good."""
        if os.getppid() != self.worker:
            return
        kernel.die_with_parent()
        for channel in self.channels:
            os.close(channel.fileno())
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)
        kernel.limit_resources(self.threads, self.patience)
        files = kernel.write_only_below(self.folder) or self.walls
        filtered = seccomp.refuse_processes_and_sockets()
        names = {"network": self.network or filtered, "writing files": files, "number of processes": filtered or self.bounded}
        self.missing = [name for name, granted in names.items() if not granted]

    def missing_protections(self) -> list[str]:
        """What the kernel does not grant here, tried in a child."""
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.write(writer, json.dumps(self.missing).encode())
            os._exit(0)
        os.close(writer)
        os.waitpid(pid, 0)
        with open(reader, "rb") as answer:
            return json.loads(answer.read())

    def clean(self) -> bool:
        """Kill what a job left running and remove what it left lying; return whether nothing is left."""
        if not kernel.kill_descendants(self.worker):
            return False
        try:
            kernel.empty(self.folder)
            os.mkdir(self.arenas, 0o700)
            if self.walls:
                kernel.empty(SHARED_MEMORY)
        except OSError:
            return False
        return True


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


def verdict(job: dict[str, Any], kind: str, expected: list[Any], seconds: list[float]) -> str:
    """EvalPlus's verdict on a solution for one kind of tests: ``pass``, ``fail`` or ``timeout``.

    As its ``untrusted_check`` with ``fast_check``, whose cap of 60 s does not grow with the other limits: here all do.

    Args:
        job: see ``check``.
        kind: ``base`` or ``plus``.
        expected: outputs of the canonical solution.
        seconds: what each of them took.
    """
    from evalplus import eval as evalplus
    from evalplus.config import DEFAULT_GT_TIME_LIMIT_FACTOR, DEFAULT_MIN_TIME_LIMIT

    factor, inputs = job["timeout_factor"], job[f"{kind}_input"]
    limits = [factor * max(DEFAULT_MIN_TIME_LIMIT, DEFAULT_GT_TIME_LIMIT_FACTOR * duration) for duration in seconds]
    fork = multiprocessing.get_context("fork")
    status, progress, passed = fork.Value("i", evalplus._UNKNOWN), fork.Value("i", 0), fork.Array("b", len(inputs))
    arguments = (job["dataset"], job["entry_point"], job["solution"], inputs, expected, limits, job["atol"], True)
    process = fork.Process(target=evalplus.unsafe_execute, args=(*arguments, status, passed, progress))
    process.start()
    process.join(min(factor * CAP_SECONDS, sum(limits)) + GRACE_SECONDS)
    process.kill()
    process.join()
    if status.value == evalplus._SUCCESS:
        return evalplus.PASS if all(passed[:]) else evalplus.FAIL
    return evalplus.FAIL if status.value == evalplus._FAILED else evalplus.TIMEOUT


def check(job: dict[str, Any]) -> dict[str, Any]:
    """EvalPlus's verdict on a solution for the base tests, and for the plus tests where it passed the base tests."""
    from evalplus.eval import PASS

    kept = pickle.loads(job["truth"])
    verdicts: dict[str, Any] = {"plus": None}
    for kind in ("base", "plus"):
        expected = kept[kind] if kind in kept else canonical_outputs(job, kind)[0]
        verdicts[kind] = verdict(job, kind, expected, kept[f"{kind}_time"])
        if verdicts[kind] != PASS:
            break
    return verdicts


JOBS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {"truth": truth, "check": check, "asserts": asserts.outcome}
TRIAL = {
    "dataset": "humaneval",
    "solution": "def f(x):\n    return x + 1\n",
    "entry_point": "f",
    "atol": 0,
    "timeout_factor": 10,
}
TRIAL |= {"base_input": [[1]], "plus_input": [[2]]}
TRIAL["truth"] = pickle.dumps({"base": [2], "base_time": [0], "plus": [3], "plus_time": [0]})


def main() -> None:
    """Serve jobs from standard input until it ends.

    Arguments: the temporary folder; ``walls`` inside bubblewrap; ``asserts`` where all jobs are of that kind, which needs no
    EvalPlus.
    """
    sandbox = Sandbox(sys.argv[1], sys.argv[2] == "walls")
    jobs = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    sandbox.channels = [jobs, answers]
    os.dup2(2, 1)  # whatever is printed goes to the log
    os.environ["EVALPLUS_MAX_MEMORY_BYTES"] = str(kernel.memory_limit())
    sandbox.enter()
    os.chdir(sandbox.folder)

    def answer(message: dict[str, Any]) -> None:
        answers.write(json.dumps(message).encode() + b"\n")
        answers.flush()

    plain = sys.argv[3] == "asserts"
    trial = asserts.outcome(asserts.TRIAL) if plain else check(TRIAL)
    ready = trial["passed"] if plain else trial["plus"] == "pass"
    answer({"ready": ready, "trial": trial, "missing": sandbox.missing_protections()})
    while head := jobs.read(8):
        job = pickle.loads(jobs.read(struct.unpack("Q", head)[0]))
        sandbox.patience = max(1.0, job.get("timeout_factor", 1.0))
        try:
            answer(JOBS[job["kind"]](job))
        except Exception as error:  # of this machine, not of the solution, whose errors stay in its own process
            answer({"error": f"{type(error).__name__}: {error}"})
        if not sandbox.clean():
            break  # the next job gets another worker, with a folder of its own


if __name__ == "__main__":
    main()
