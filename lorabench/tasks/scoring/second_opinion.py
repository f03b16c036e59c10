"""Math-Verify's verdict on pairs of answers, from a process of its own.

Math-Verify compares expressions (``-q+p`` equals ``p-q``) where Hendrycks' ``is_equiv`` compares normalised strings. Parsing or
simplifying may take for ever, and its own time limits rest on signals, which work in a main thread only: so a helper process
does the work, and is replaced when it does not answer in time.
"""

import json
import queue
import subprocess
import sys
import threading
from collections.abc import Sequence
from importlib.util import find_spec
from typing import IO

from lorabench.errors import UserError
from lorabench.schema import PACKAGE

SECONDS = 30.0  # for one pair
START = 120.0  # for the helper's own start
READY = "ready\n"


class Helper:
    """A process that answers one pair a line; ``seconds`` is the limit for one answer."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._start()

    def _start(self) -> None:
        # With -m, a file lorabench.py of the working folder would be what is imported.
        start = f"import sys; sys.path.insert(0, {str(PACKAGE.parent)!r}); from {__name__} import serve; serve()"
        command = [sys.executable, "-P", "-c", start]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, encoding="utf-8"
        )
        self._answers: queue.Queue[str] = queue.Queue()
        threading.Thread(target=_forward, args=(self._process.stdout, self._answers), daemon=True).start()
        try:
            ready = self._answers.get(timeout=START) == READY
        except queue.Empty:
            ready = False
        if not ready:
            self.close()
            raise UserError(
                "Math-Verify is installed but does not start: mend it or pip uninstall math-verify, then score again"
            )

    def equal(self, gold: str, answer: str) -> bool:
        """Whether the two are mathematically equal; False when that is not known in time."""
        assert self._process.stdin
        try:
            self._process.stdin.write(json.dumps([gold, answer]) + "\n")
            self._process.stdin.flush()
            return bool(json.loads(self._answers.get(timeout=self.seconds)))
        except (queue.Empty, OSError, ValueError):
            self.close()
            self._start()
            return False

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()


def _forward(lines: IO[str], answers: queue.Queue[str]) -> None:
    for line in lines:
        answers.put(line)
    answers.put("")  # it has ended: not JSON, so that nobody waits for it


def opinions_on(pairs: Sequence[tuple[str, str | None]], seconds: float = SECONDS) -> list[float] | None:
    """Return 1.0 for each (gold, answer) that Math-Verify finds equal, 0.0 else; None where it is not installed."""
    if find_spec("math_verify") is None:
        return None
    helper = Helper(seconds)
    try:
        return [float(bool(answer) and helper.equal(gold, answer or "")) for gold, answer in pairs]
    finally:
        helper.close()


def serve() -> None:
    """Answer pairs from standard input; its own limits come first, since they need no restart."""
    from math_verify import parse, verify

    answers, sys.stdout = sys.stdout, sys.stderr
    print(READY, end="", file=answers, flush=True)
    for line in sys.stdin:
        try:
            gold, answer = (parse(f"${text}$", parsing_timeout=5) for text in json.loads(line))
            equal = verify(gold, answer, timeout_seconds=5)
        except Exception:  # sympy raises many kinds: an expression that it cannot take is not equal
            equal = False
        print(json.dumps(equal), file=answers, flush=True)
