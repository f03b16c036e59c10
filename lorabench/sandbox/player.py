"""The process that runs a solution. It is given code and arguments, one call after the other, and never a test or an answer."""

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from lorabench.sandbox import kernel
from lorabench.sandbox.peer import Over, Peer
from lorabench.sandbox.remote import OPERATIONS

CHANGE_FOLDER = os.chdir
"""Before EvalPlus's guard takes it away."""


@dataclass(frozen=True)
class Player:
    """What a judge knows of the process.

    Attributes:
        pid: of it.
        reader: descriptor of what it says.
        writer: descriptor of what it is told.
    """

    pid: int
    reader: int
    writer: int

    def close(self) -> None:
        """The descriptors, in a process that has no use for them."""
        os.close(self.reader)
        os.close(self.writer)


def start(confine: Callable[[], None]) -> Player:
    """A process that waits for its solution.

    Args:
        confine: what it does first, to itself and for good.
    """
    (said, says), (hears, tells) = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(said)
            os.close(tells)
            confine()
            _Stage(Peer(hears, says, {})).serve()
        finally:
            os._exit(0)
    os.close(hears)
    os.close(says)
    return Player(pid, said, tells)


@dataclass
class _Stage:
    """The solution's names, and what may be asked of them."""

    peer: Peer
    names: dict[str, Any] = field(default_factory=lambda: {"__name__": "solution"})
    silence: Callable[[], Any] = contextlib.nullcontext

    def serve(self) -> None:
        """Answer until the other side ends."""
        own: dict[str, Callable[..., Any]] = {"guard": self.guard, "load": self.load, "name": self.name, "run": self.run}
        self.peer.operations = OPERATIONS | own
        with contextlib.suppress(Over, OSError):
            while True:
                message = self.peer.receive()
                self.peer.answer(message[1], message[2])

    def guard(self, folder: str, patience: float) -> None:
        """Become as EvalPlus has it: its guard, no input and output, and no names.

        Args:
            folder: to run in.
            patience: multiplies the limit on CPU time.
        """
        CHANGE_FOLDER(folder)
        self.names = {}
        if self.peer.keeps:  # the first time
            from evalplus.eval import query_maximum_memory_bytes
            from evalplus.eval.utils import reliability_guard, swallow_io

            kernel.limit_cpu(patience)
            reliability_guard(maximum_memory_bytes=query_maximum_memory_bytes())
            self.silence, self.peer.keeps = swallow_io, False

    def load(self, solution: str) -> None:
        """Run the solution, apart from any test, so that no open quote of the one swallows the other."""
        with self.silence():
            exec(compile(solution, "solution", "exec", dont_inherit=True), self.names)

    def name(self, name: str) -> tuple[str, Any]:
        """A global name's value; of an exception's class the names of its bases, by which the other side makes one."""
        value = self.names[name]
        if isinstance(value, type) and issubclass(value, BaseException):
            return "exception", [kind.__name__ for kind in type.mro(value)]
        return "value", value

    def run(self, name: str, arguments: list[Any]) -> Any:
        """What a function of the solution returns."""
        with self.silence():
            return self.names[name](*arguments)
