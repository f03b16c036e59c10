"""A stage as a process of its own, which gets the signals that this one gets."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator, Sequence
from types import FrameType

from lorabench.sandbox.kernel import die_with_parent
from lorabench.terminal import signals


class Stopped(Exception):
    """A stage has ended without a result, and has said why; ``code`` is its exit code."""

    def __init__(self, code: int) -> None:
        super().__init__(f"exit code {code}")
        self.code = code


def run(module: str, words: Sequence[str], kept: bool = False) -> str:
    """Run ``python -m MODULE WORDS`` to its end.

    Args:
        module: of this project.
        words: its arguments.
        kept: whether what it prints is returned instead of shown.

    Raises:
        Stopped: it did not succeed.
    """
    line = [sys.executable, "-m", module, *words]
    # In a group of its own: a Ctrl-C of the terminal reaches it once, by this process, and not twice.
    child = subprocess.Popen(
        line,
        stdout=subprocess.PIPE if kept else None,
        text=True,
        errors="replace",
        process_group=0,
        preexec_fn=die_with_parent if sys.platform == "linux" else None,  # no stage outlives a killed command
    )
    with _forwarding(child):
        printed, _ = child.communicate()
    if child.returncode:
        raise Stopped(child.returncode if child.returncode > 0 else 128 - child.returncode)
    return printed or ""


@contextlib.contextmanager
def _forwarding(child: "subprocess.Popen[str]") -> Iterator[None]:
    def forward(number: int, frame: FrameType | None) -> None:
        if child.poll() is None:
            child.send_signal(number)

    with signals.passed_to(forward):
        yield
