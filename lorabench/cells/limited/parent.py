"""Starts the process that trains cells with a limit of time, and ends it when one takes longer, hangs or all is over."""

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Any

from lorabench.sandbox.kernel import die_with_parent
from lorabench.terminal import signals

START = 600.0
"""Seconds for the process to start, a busy machine's imports included."""

GRACE = 30.0
"""Seconds for the checkpoint of a cell whose time is over; then its process is killed."""


@dataclass(frozen=True)
class Outcome:
    """What came of a cell.

    Attributes:
        state: ``finished``, ``mistake``, ``busy``, ``failed``, ``interrupted``, or of the process: ``late`` or ``died``.
        text: the reason.
        fresh: whether it was trained now.
    """

    state: str
    text: str = ""
    fresh: bool = False


class CellProcess:
    """A process for cells one after the other, made anew after one that had to be ended; it keeps the model between them."""

    def __init__(self) -> None:
        self._child: subprocess.Popen[str] | None = None
        self._replies: Any = None

    def outcome(self, config: dict[str, Any], seconds: float) -> Outcome:
        """Let the process train a cell; the time runs while it holds the cell, not while it waits for another's."""
        try:
            self._tell(config)
            outcome = self._follow(seconds)
        except BaseException:
            outcome = self._end(signals.number() or signal.SIGINT)
            if outcome.state == "interrupted":
                raise signals.Interrupted(outcome.text) from None
            raise
        if outcome.state in ("late", "died", "interrupted"):
            self._end(signal.SIGTERM)
        if outcome.state == "interrupted":  # the process alone was signalled
            raise signals.Interrupted(outcome.text)
        return outcome

    def _tell(self, config: dict[str, Any]) -> None:
        """Give the process its next cell; one that has ended just before is made anew."""
        for last in (False, True):
            child = self._started()
            assert child.stdin is not None
            try:
                child.stdin.write(json.dumps(config) + "\n")
                child.stdin.flush()
                return
            except OSError:
                if last:
                    raise
                self._end(signal.SIGTERM, 0.0)

    def _started(self) -> "subprocess.Popen[str]":
        if self._child is not None and self._child.poll() is None:
            return self._child
        reader, writer = os.pipe()
        self._child = subprocess.Popen(
            [sys.executable, "-m", "lorabench.cells.limited.child", str(writer)],
            stdin=subprocess.PIPE,
            text=True,
            pass_fds=[writer],
            process_group=0,  # a Ctrl-C of the terminal reaches it once, from here
            preexec_fn=_prepare if sys.platform == "linux" else None,
        )
        os.close(writer)
        self._replies = os.fdopen(reader, "rb", buffering=0)
        signals.leftovers["process of cells"] = lambda: self._end(signal.SIGINT, 2.0)
        return self._child

    def _follow(self, seconds: float) -> Outcome:
        deadline: float | None = time.monotonic() + START
        while True:
            reply = self._reply(None if deadline is None else deadline - time.monotonic())
            if reply is None:
                return Outcome("late")
            if reply.state not in ("starts", "begins"):
                return reply
            deadline = None if reply.state == "starts" else time.monotonic() + seconds

    def _reply(self, seconds: float | None) -> Outcome | None:
        """The next line, None where there is none in time; a process that has ended says nothing."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._replies, selectors.EVENT_READ)
            if not selector.select(None if seconds is None else max(0.0, seconds)):
                return None
        if line := self._replies.readline():  # written at once, and one at a time
            return Outcome(**json.loads(line))
        assert self._child is not None
        code = self._child.wait()
        return Outcome("died", f"the process of the cell ended by signal {-code}" if code < 0 else f"it ended with code {code}")

    def _end(self, number: int, grace: float | None = None) -> Outcome:
        """Signal the process, give it time for a checkpoint, and kill it if need be; returns its last word."""
        child, last = self._child, Outcome("died")
        if child is None:
            return last
        deadline = time.monotonic() + (GRACE if grace is None else grace)
        with contextlib.suppress(ProcessLookupError):
            child.send_signal(number)
        while last.state != "interrupted" and (reply := self._reply(deadline - time.monotonic())) and reply.state != "died":
            last = reply
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if last.state == "interrupted":
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(max(0.0, deadline - time.monotonic()))
            os.killpg(child.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(GRACE)  # one that the kernel cannot end, on a lost disk, say, is left
        assert child.stdin is not None
        with contextlib.suppress(OSError):
            child.stdin.close()
        self._replies.close()
        self._child = None
        signals.leftovers.pop("process of cells", None)
        return last

    def close(self) -> None:
        """Let it end."""
        if self._child is not None:
            self._end(signal.SIGTERM)


def _prepare() -> None:
    die_with_parent()
    signals.wait_for_catch()
