"""The process inside the sandbox: has each job done by children of its own, which answer in JSON lines.

For each job there is a judge, which reads it, and a player, which runs the solution. Both are forked from this process, which
never looks into a job: so the memory of the player holds no test, no expected output, and nothing of the jobs before. Jobs come
pickled, which is safe in this direction; answers are JSON, since what generated code may have touched must not be unpickled
outside. The ground truth is computed here too, and is for the outside a piece of opaque bytes.
"""

import contextlib
import gc
import json
import os
import pickle
import select
import signal
import struct
import sys
from collections.abc import Callable, Sequence
from multiprocessing.util import get_temp_dir
from pathlib import Path
from typing import Any

from lorabench.sandbox import asserts, checks, kernel, player, seccomp
from lorabench.sandbox.player import Player

PRIVATE_UID = 1 << 30  # plus the process id: a user that nobody else is, so that its processes can be counted
NOBODY = 65534
SHARED_MEMORY = "/dev/shm"  # inside bubblewrap the worker's own, and the one other folder to write


class Sandbox:
    """What this worker does to its children.

    Attributes:
        folder: the temporary folder, the only place to write.
        readable: without bubblewrap, which shows nothing else, what its children may read besides.
        channels: descriptors that lead out, which no confined child keeps.
        missing: protections that the kernel did not grant.
        arenas: multiprocessing's own folder inside ``folder``; emptied, never missing.
    """

    def __init__(self, folder: str, walls: bool, readable: Sequence[str]) -> None:
        self.folder, self.walls, self.readable = folder, walls, readable
        self.worker, self.threads = os.getpid(), 0
        self.channels: list[int] = []
        self.network = self.bounded = False
        self.missing: list[str] = []
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
        """In a child, close what leads out and lower all limits for good."""
        kernel.die_with_parent()
        for channel in self.channels:
            os.close(channel)
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)
        kernel.limit_resources(self.threads)
        files = kernel.write_only_below(self.folder, None if self.walls else self.readable) or self.walls
        filtered = seccomp.refuse_processes_and_sockets()
        names = {
            "network": self.network or filtered,
            "writing files": files,
            "reading files that you can read": files,
            "number of processes": filtered or self.bounded,
        }
        self.missing = [name for name, granted in names.items() if not granted]

    def missing_protections(self) -> list[str]:
        """What the kernel does not grant here, tried in a child."""
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            self.confine()
            os.write(writer, json.dumps(self.missing).encode())
            os._exit(0)
        os.close(writer)
        os.waitpid(pid, 0)
        with open(reader, "rb") as answer:
            return json.loads(answer.read())

    def work(self, read: Callable[[], dict[str, Any]], answers: int) -> bool:
        """Have a job done; return whether its judge has answered and nothing is left of it.

        Args:
            read: gives the job, in the judge alone.
            answers: descriptor for the answer, a line.
        """
        runs = player.start(self.confine)
        pid = os.fork()
        if pid == 0:
            self._judge(read, answers, runs)
        runs.close()
        answered = os.waitpid(pid, 0)[1] == 0
        os.kill(runs.pid, signal.SIGKILL)
        os.waitpid(runs.pid, 0)
        return self.clean() and answered

    def _judge(self, read: Callable[[], dict[str, Any]], answers: int, runs: Player) -> None:
        """The judge's whole life."""
        try:
            kernel.die_with_parent()
            job = read()
            self.channels = [channel for channel in self.channels if channel != answers]
            try:
                answer = JOBS[job["kind"]](self, job, runs)
            except Exception as error:  # of this machine, not of the solution, whose errors stay in its own process
                answer = {"error": f"{type(error).__name__}: {error}"}
            os.write(answers, json.dumps(answer).encode() + b"\n")
        except BaseException:
            os._exit(1)
        os._exit(0)

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


JOBS: dict[str, Callable[["Sandbox", dict[str, Any], Player], dict[str, Any]]] = {
    "truth": lambda sandbox, job, runs: checks.truth(job),
    "check": lambda sandbox, job, runs: checks.check(job, runs),
    "asserts": lambda sandbox, job, runs: asserts.outcome(job, runs, sandbox.confine),
}


def main() -> None:
    """Serve jobs from standard input until it ends.

    Arguments: the temporary folder; ``walls`` inside bubblewrap; ``asserts`` where all jobs are of that kind, which needs no
    EvalPlus; what may be read outside bubblewrap.
    """
    sandbox = Sandbox(sys.argv[1], sys.argv[2] == "walls", sys.argv[4:])
    jobs, answers = os.dup(0), os.dup(1)
    sandbox.channels = [jobs, answers]
    os.dup2(2, 1)  # whatever is printed goes to the log
    os.environ["EVALPLUS_MAX_MEMORY_BYTES"] = str(kernel.memory_limit())
    if sys.argv[3] != "asserts":
        import evalplus.eval  # noqa: F401 (once, and not in each child)
    sandbox.enter()
    os.chdir(sandbox.folder)
    gc.freeze()  # children share the pages of all that lies here already, and do not look through it
    os.write(answers, json.dumps(_trial(sandbox, sys.argv[3] == "asserts")).encode() + b"\n")
    waiting = select.poll()
    waiting.register(jobs, select.POLLIN)
    while waiting.poll()[0][1] & select.POLLIN:
        if not sandbox.work(lambda: pickle.loads(_exactly(jobs, *struct.unpack("Q", _exactly(jobs, 8)))), answers):
            break  # the next job gets another worker, with a folder of its own


def _trial(sandbox: Sandbox, plain: bool) -> dict[str, Any]:
    """Whether a right solution is judged right here, and what the kernel does not grant."""
    reader, writer = os.pipe()
    sandbox.channels.append(reader)
    sandbox.work(lambda: asserts.TRIAL if plain else checks.TRIAL, writer)
    sandbox.channels.remove(reader)
    os.close(writer)
    with open(reader, "rb") as said:
        answer = json.loads(said.read() or b"{}")
    ready = answer.get("passed") if plain else answer.get("plus") == "pass"
    return {"ready": ready, "trial": answer, "missing": sandbox.missing_protections()}


def _exactly(descriptor: int, length: int) -> bytes:
    """Bytes of a job, and none of the next one."""
    data = bytearray()
    while len(data) < length:
        part = os.read(descriptor, length - len(data))
        if not part:
            raise EOFError
        data += part
    return bytes(data)


if __name__ == "__main__":
    main()
