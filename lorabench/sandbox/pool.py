"""Workers, one a CPU, and the queue of jobs before them."""

import json
import os
import pickle
import selectors
import signal
import struct
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any

from lorabench.errors import UserError
from lorabench.sandbox import kernel, launch
from lorabench.terminal import signals

START_SECONDS = 120.0
JOB_SECONDS = 200.0  # a check ends after 62 s, and there are two of them
TRUTH_SECONDS = 1200.0

Answer = dict[str, Any] | None


class Worker:
    """One sandboxed process. Start, greet, use and close it in one thread: it dies with the thread that started it.

    Attributes:
        folder: its temporary folder.
        walls: whether it has bubblewrap's.
        missing: protections that the kernel did not grant it.
    """

    def __init__(self, bubblewrap: bool = True, jobs: str = "evalplus") -> None:
        self.missing: tuple[str, ...] = ()
        self.folder = tempfile.mkdtemp(prefix="lorabench-sandbox-")
        self.log = tempfile.TemporaryFile()  # noqa: SIM115
        command, self.walls = launch.command(self.folder, bubblewrap, jobs)
        self.process = subprocess.Popen(
            command,
            env=launch.environment(self.folder),
            cwd=self.folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            start_new_session=True,
            bufsize=0,
        )
        signals.leftovers[self.folder] = self.close

    def greet(self) -> None:
        """Wait until it has started.

        Raises:
            UserError: the sandbox does not work here.
        """
        hello = self._read(time.monotonic() + START_SECONDS)
        if not hello or not hello["ready"]:
            reason = f"a right solution was judged {hello['trial']}" if hello else self._last_line()
            self.close()
            raise UserError(f"the sandbox for generated code does not work on this machine: {reason}")
        self.missing = tuple(hello["missing"])

    def _last_line(self) -> str:
        self.log.seek(0)
        lines = self.log.read().decode(errors="replace").strip().splitlines()
        return lines[-1][:300] if lines else f"its process ended with code {self.process.poll()}"

    def _read(self, deadline: float) -> dict[str, Any] | None:
        assert self.process.stdout is not None
        parts: list[bytes] = []  # a worker sends one line and waits
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while not (parts and parts[-1].endswith(b"\n")):
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    return None
                parts.append(os.read(self.process.stdout.fileno(), 1 << 20))
                if not parts[-1]:
                    return None
        try:
            return json.loads(b"".join(parts))
        except ValueError:
            return None

    def ask(self, job: dict[str, Any], seconds: float) -> dict[str, Any] | None:
        """Send a job and wait for its answer; None when the worker dies or the time runs out, and it is of no use then."""
        assert self.process.stdin is not None
        data = memoryview(pickle.dumps(job))
        try:
            self.process.stdin.write(struct.pack("Q", len(data)))
            while data:
                data = data[self.process.stdin.write(data) :]
        except OSError:
            return None
        return self._read(time.monotonic() + seconds)

    def close(self) -> None:
        """Kill the worker with all its descendants and remove its folder."""
        with suppress(OSError):
            os.kill(self.process.pid, signal.SIGSTOP)
        kernel.kill_descendants(self.process.pid)
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self.log):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()
        with suppress(OSError):
            kernel.empty(self.folder)
            os.rmdir(self.folder)
        signals.leftovers.pop(self.folder, None)


def run(
    jobs: Sequence[dict[str, Any]],
    on_answer: Callable[[int, Answer], None] = lambda index, answer: None,
    bubblewrap: bool = True,
    workers: int | None = None,
) -> list[Answer]:
    """Answers to jobs, in their order.

    A job whose worker dies is tried once more in a new worker, since something else may have killed it. The answer is None
    when it dies again, or at once when its time runs out.

    Args:
        jobs: what ``worker.JOBS`` takes.
        on_answer: called with index and answer of each finished job, in the thread of its worker.
        bubblewrap: whether to use it where it works.
        workers: how many; as many as there are CPUs unless given.

    Raises:
        UserError: the sandbox does not work here, or a job failed for a reason that is not the solution's.
    """
    waiting: SimpleQueue[int] = SimpleQueue()
    for index in range(len(jobs)):
        waiting.put(index)
    answers: list[Answer] = [None] * len(jobs)
    kinds = "asserts" if all(job["kind"] == "asserts" for job in jobs) else "evalplus"
    stop = threading.Event()
    alive: set[Worker] = set()
    noting = threading.Lock()  # or two workers that start together might both say it

    def start() -> Worker:
        worker = Worker(bubblewrap, kinds)
        alive.add(worker)  # before it is ready, so that an end need not wait for that
        worker.greet()
        with noting:
            launch.note_gaps(worker.walls, worker.missing)
        return worker

    def serve() -> None:
        worker: Worker | None = None
        try:
            while not stop.is_set():
                index = waiting.get_nowait()
                seconds = (
                    TRUTH_SECONDS if jobs[index]["kind"] == "truth" else JOB_SECONDS * jobs[index].get("timeout_factor", 1)
                )
                for _ in range(2):
                    worker = worker or start()
                    if stop.is_set():
                        return
                    started = time.monotonic()
                    answers[index] = worker.ask(jobs[index], seconds)
                    if answers[index] is not None:
                        break
                    worker.close()
                    worker = None
                    if stop.is_set() or time.monotonic() - started >= seconds:
                        break
                if (answer := answers[index]) and "error" in answer:
                    raise UserError(f"the sandbox failed at {jobs[index]['name']}: {answer['error']}")
                on_answer(index, answers[index])
        except Empty:
            pass
        except BaseException:
            stop.set()
            raise
        finally:
            if worker is not None:
                worker.close()

    count = min(len(jobs), workers or len(os.sched_getaffinity(0)))
    with ThreadPoolExecutor(max(1, count)) as threads:
        tasks = [threads.submit(serve) for _ in range(count)]
        try:
            for task in tasks:
                task.result()
        finally:
            stop.set()
            for worker in list(alive):
                worker.process.kill()  # ends the wait of its thread, which cleans up
    return answers
