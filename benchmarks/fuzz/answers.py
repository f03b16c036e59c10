"""What a command answers, run in this process and held to what every command promises."""

import contextlib
import errno
import io
import logging
import os
import resource
import runpy
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from unicodedata import category

from hydra.core.global_hydra import GlobalHydra

from lorabench.cells.session import current

ROOT = Path(__file__).resolve().parents[2]
LONGEST = 1000
"""Characters of a line that a person can take in: the longest are lists of names."""

MEMORY = 6 * 2**30
"""Bytes that a command may take beside what this process has."""

GOOD = ("answered", "refused")


EVENTS = {"os.mkdir": (0,), "os.rename": (0, 1), "os.remove": (0,), "os.rmdir": (0,), "os.symlink": (1,), "os.truncate": (0,)}
"""Audit events of a change, and which of their arguments are the places."""

PROCESSES = ("subprocess.Popen", "os.system", "os.posix_spawn", "os.fork", "socket.connect")
"""Audit events of what leads out of this process."""


class Answer(NamedTuple):
    """How a command ended.

    Attributes:
        outcome: `answered`, `refused` in one line with code 2, or what is wrong: `traceback`, `hang`, `lines`, `code`, `wrote`.
        detail: the line, or where it went wrong.
    """

    outcome: str
    detail: str


class Hang(BaseException):
    """The time of a command is over; no handler of exceptions takes it."""


class Writes:
    """Sees what this process writes to, by Python's audit events, and keeps it from all but some folders.

    Attributes:
        allowed: the folders; None: anywhere.
        others: what it was kept from.
    """

    def __init__(self) -> None:
        self.allowed: Sequence[Path] | None = None
        self.others: list[str] = []
        sys.addaudithook(self._event)

    @contextlib.contextmanager
    def only_into(self, folders: Sequence[Path] | None) -> Iterator[list[str]]:
        """Allow these folders alone (None: all); gives the list of what is written to elsewhere, as it fills."""
        self.allowed, self.others = folders, []
        try:
            yield self.others
        finally:
            self.allowed = None

    def _event(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.allowed is None:
            return
        if event in PROCESSES:
            self._refuse(event)
        places = [arguments[i] for i in EVENTS.get(event, ())]
        if event == "open" and arguments[2] is not None and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            places = [arguments[0]]
        for place in places:
            if isinstance(place, str | bytes | os.PathLike):
                file = Path(os.path.abspath(os.fsdecode(place)))
                if not any(file.is_relative_to(folder) for folder in self.allowed) and "__pycache__" not in file.parts:
                    self._refuse(str(file))

    def _refuse(self, what: str) -> None:
        if what != "/dev/null":
            self.others.append(what)
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), what)


@contextlib.contextmanager
def bounded(seconds: float) -> Iterator[None]:
    """Raise `Hang` when the time is over, and MemoryError where the memory is."""

    def over(*_: Any) -> None:
        raise Hang

    before = signal.signal(signal.SIGALRM, over)
    limits = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, limits[1]))
    signal.setitimer(signal.ITIMER_REAL, seconds, seconds)  # again, where a callback that ignores exceptions takes the first
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        resource.setrlimit(resource.RLIMIT_AS, limits)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def as_a_new_process(argv: Sequence[str], folder: Path) -> Iterator[tuple[io.TextIOWrapper, io.TextIOWrapper]]:
    """Words, folder, environment, path and streams of a command, and this process's own afterwards; gives both streams."""
    kept = sys.argv, list(sys.path), dict(os.environ), os.getcwd(), sys.stdout, sys.stderr, sys.modules["__main__"]
    handlers, level = list(logging.root.handlers), logging.root.level
    os.environ.update(HYDRA_FULL_ERROR="", PYTHONPATH=os.environ.get("PYTHONPATH", ""))
    os.chdir(folder)
    streams = [io.TextIOWrapper(io.BytesIO(), "utf-8", errors) for errors in ("strict", "backslashreplace")]
    sys.argv, (sys.stdout, sys.stderr) = list(argv), streams
    current.cache_clear()
    try:
        with warnings.catch_warnings():
            yield streams[0], streams[1]
    finally:
        sys.argv, sys.path[:], environment, here, sys.stdout, sys.stderr, sys.modules["__main__"] = kept
        os.environ.clear()
        os.environ.update(environment)
        os.chdir(here)
        logging.root.handlers[:], logging.root.level = handlers, level
        logging.disable(logging.NOTSET)
        GlobalHydra.instance().clear()


def answer(
    module: str, words: Sequence[str], folder: Path, seconds: float, writes: Writes, into: Sequence[Path] | None
) -> Answer:
    """Run ``python -m MODULE WORDS`` in this process.

    Args:
        module: of the command.
        words: of the command line.
        folder: in which it runs.
        seconds: that it may take.
        writes: watches over files.
        into: folders that it may write into; None: anywhere, and it may start processes.
    """
    run = lambda: runpy.run_module(module, run_name="__main__", alter_sys=True)  # noqa: E731
    return _judged(run, [module, *words], folder, seconds, writes, into)


def _judged(
    run: Callable[[], object], argv: Sequence[str], folder: Path, seconds: float, writes: Writes, into: Sequence[Path] | None
) -> Answer:
    code: object = 0
    wrong: Answer | None = None
    with as_a_new_process(argv, folder) as (out, err), writes.only_into(into) as others:
        try:
            with bounded(seconds):
                run()
        except SystemExit as stop:
            code = stop.code
        except Hang as over:
            wrong = Answer("hang", place(over))
        except BaseException as error:
            wrong = Answer("traceback", f"{type(error).__name__}: {place(error)}: {str(error)[:150]!r}")
        for stream in (out, err):
            stream.flush()
        said = err.buffer.getvalue().decode()  # type: ignore[attr-defined]
    if wrong is None and others:
        wrong = Answer("wrote", others[0])
    return wrong or of_code(code, said)


def of_code(code: object, said: str) -> Answer:
    """What an exit code and standard error come to."""
    if code in (0, None):
        return Answer("answered", said.strip())
    if code != 2:
        return Answer("code", f"{code}: {said[:300]!r}")
    if said.count("\n") != 1 or not said.startswith("lorabench: ") or not said.endswith("\n"):
        return Answer("lines", repr(said[:600]))
    if len(said) > LONGEST or any(category(character) == "Cc" for character in said[:-1]):
        return Answer("lines", f"{len(said)} characters, {said[:300]!r}")
    return Answer("refused", said[len("lorabench: ") :].strip())


def place(error: BaseException) -> str:
    """The innermost place in this project's code, and the innermost of all."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if Path(frame.filename).is_relative_to(ROOT) and "benchmarks" not in frame.filename]
    places = [f"{Path(frame.filename).name} {frame.name}" for frame in (*ours[-1:], *frames[-1:])]
    return ", ".join(dict.fromkeys(places))
