"""Signals that end a command: it stops where the same command goes on, and leaves nothing behind.

Ctrl-C (SIGINT), SIGTERM, SIGHUP, and SIGUSR1, by which Slurm says that a job's time is nearly over. The exit code is 128 and
the signal's number, as a shell has it: 130, 143, 129, 138. What is ignored (``nohup``) stays ignored.
"""

import _thread
import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, NoReturn

ENDS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1") if hasattr(signal, name)
)  # Windows has no SIGHUP

TWICE = 0.2
"""Seconds within which a second Ctrl-C is the first one: a terminal, a scheduler and a parent may each pass it on."""

IMPORTING = "<frozen importlib._bootstrap>"
"""Where Python is while it imports: an exception there may leave a module half made, and be taken for an error of it."""

Handler = Callable[[int, FrameType | None], Any]


class Interrupted(KeyboardInterrupt):
    """A signal ends the command; its text says what the same command does."""


class _Process:
    """What a process knows of its end.

    Attributes:
        caught: whether the signals are caught at all.
        running: whether an exception reaches ``entry.command``, which says the line.
        number: of the first signal.
        writer: of the pipe by which ``_watch`` is told.
        held: how many bodies of ``held_back`` are running.
    """

    def __init__(self) -> None:
        self.caught = self.running = False
        self.number: int | None = None
        self.writer = -1
        self.held = 0


_process = _Process()

leftovers: dict[str, Callable[[], object]] = {}
"""What removes something that would outlive a process which ends at once, by its name."""


def catch() -> None:
    """Let a signal end the process with its code and one line, from now on; once ``running``, by an exception."""
    if not _process.caught:
        _start_watching()
    _process.caught = True
    for number in ENDS:
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, _handle)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDS)  # see ``wait_for_catch``


@contextlib.contextmanager
def running() -> Iterator[None]:
    """The body of a command, from which a signal raises `Interrupted`; before and behind it the process ends at once."""
    before = {number: signal.getsignal(number) for number in ENDS} if not _process.caught else {}
    _process.number, _process.running = None, True
    catch()
    try:
        yield
    finally:
        _process.running = False
        for number, handler in before.items():  # of a process that is another's, as a test's
            signal.signal(number, handler)
        if before:
            signal.set_wakeup_fd(-1)
            os.close(_process.writer)
            _process.caught = False


@contextlib.contextmanager
def held_back() -> Iterator[None]:
    """A signal waits for the end of the body, which then raises `Interrupted`; only a second Ctrl-C does not wait."""
    _process.held += 1
    try:
        yield
    finally:
        _process.held -= 1
    go_on()


def go_on() -> None:
    """Raise `Interrupted` where a signal has come, be it that the exception was lost on its way."""
    if _process.number is not None and not _process.held:
        raise Interrupted(cause())


def number() -> int | None:
    """The signal that has come; None without one."""
    return _process.number


def cause() -> str:
    """What a line begins with.

    >>> cause()
    'interrupted'
    """
    return "interrupted" if _process.number in (None, signal.SIGINT) else f"ended by {signal.Signals(_process.number).name}"


def code() -> int:
    """The exit code of an end by signal."""
    return 128 + (signal.SIGINT if _process.number is None else _process.number)


@contextlib.contextmanager
def passed_to(handler: Handler) -> Iterator[None]:
    """Another handler of all that is not ignored, as that of a parent for which children do the work."""
    before = {number: signal.signal(number, handler) for number in ENDS if signal.getsignal(number) != signal.SIG_IGN}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


def wait_for_catch() -> None:
    """In a child, before it is Python: keep signals until its ``catch``, or one at its start would end it by a traceback."""
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDS)


def _handle(number: int, frame: FrameType | None) -> None:
    if _process.number is not None:  # a scheduler may repeat itself; a second Ctrl-C is ``_watch``'s
        return
    _process.number = number
    if _process.held:
        return
    if not _process.running or _imports(frame):
        _leave(cause())
    raise Interrupted(cause())


def _imports(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == IMPORTING:
            return True
        frame = frame.f_back
    return False


def _start_watching() -> None:
    """Let a thread end the process at a second Ctrl-C: while the main thread is in C code, no handler is called."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_watch_nothing)
    reader, _process.writer = os.pipe()
    os.set_blocking(_process.writer, False)
    signal.set_wakeup_fd(_process.writer, warn_on_full_buffer=False)
    _thread.start_new_thread(_watch, (reader,))  # threading's would keep the process, and count among its own


def _watch_nothing() -> None:
    """In a copy of this process, which has no such thread: what it is sent would be told to this one's."""
    signal.set_wakeup_fd(-1)
    _process.caught = False


def _watch(reader: int) -> None:
    first = None
    with open(reader, "rb", buffering=0) as numbers:
        while number := numbers.read(1):
            if number[0] not in ENDS or signal.getsignal(number[0]) != _handle:
                continue
            if first is not None and number[0] == signal.SIGINT and time.monotonic() - first >= TWICE:
                _leave("interrupted twice: ended at once")
            first = time.monotonic() if first is None else first


def _leave(line: str) -> NoReturn:
    """End the process, with one line and nothing left behind."""
    with contextlib.suppress(OSError):  # a terminal that has hung up; print could be what was interrupted
        os.write(2, f"lorabench: {line}\n".encode())
    for remove in list(leftovers.values()):
        with contextlib.suppress(Exception):
            remove()
    with contextlib.suppress(Exception):
        sys.stdout.flush()
    os._exit(code())
