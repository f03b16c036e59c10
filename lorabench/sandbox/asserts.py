"""A solution and plain asserts about it, run in a child of the worker under a limit of time.

Solution and tests are compiled apart, so that no open quote of the one swallows the other. That all tests passed is told by
bytes which the solution is not given: neither leaving early nor writing to every descriptor can say it. As with EvalPlus, code
that looks through the frames of its callers could; walls keep it from the rest of the machine in any case.
"""

import os
import selectors
import signal
import time
from typing import Any

SECRET_BYTES = 16
TRIAL = {"solution": "def f(x):\n    return x + 1\n", "tests": "assert f(1) == 2", "seconds": 20.0}


def outcome(job: dict[str, Any]) -> dict[str, Any]:
    """Whether the tests of a job pass after its solution has run.

    Args:
        job: ``solution`` and ``tests``, Python as text, and ``seconds`` of wall time for both together.

    Returns:
        ``passed``, and whether the time was up before they had ended: ``late``.
    """
    secret = os.urandom(SECRET_BYTES)
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        _run(job["solution"], job["tests"], writer, secret)
    os.close(writer)
    said, late = _read(reader, time.monotonic() + job["seconds"])
    os.close(reader)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return {"passed": said == secret, "late": late}


def _run(solution: str, tests: str, writer: int, secret: bytes) -> None:
    """The child's whole life."""
    write, leave = os.write, os._exit  # before the solution can change them
    try:
        names: dict[str, Any] = {"__name__": "solution"}  # a block for __main__ is none of what is tested
        exec(compile(solution, "solution", "exec", dont_inherit=True), names)
        exec(compile(tests, "tests", "exec", dont_inherit=True), names)
        write(writer, secret)
    except BaseException:
        leave(1)
    leave(0)


def _read(reader: int, deadline: float) -> tuple[bytes, bool]:
    """What was written until the other end was closed, or one byte too many for the secret; and whether the time was up."""
    said = b""
    with selectors.DefaultSelector() as selector:
        selector.register(reader, selectors.EVENT_READ)
        while len(said) <= SECRET_BYTES:
            if not selector.select(max(0.0, deadline - time.monotonic())):
                return said, True
            part = os.read(reader, SECRET_BYTES + 1)
            if not part:
                break
            said += part
    return said, False
