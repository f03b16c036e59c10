"""Commands that are killed by SIGKILL and started again until they are done, beside the same command undisturbed.

Each start is a process of its own, forked from one that has imported everything, and leads its own session. Half of the kills
come at a random moment, from outside. The others are aimed: at a call of ``os.fsync`` or ``os.replace``, before or behind it,
where files are half written or not yet named.
"""

import contextlib
import mmap
import os
import random
import signal
import struct
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.leavings import content, differences
from lorabench.sandbox import kernel

PHASES = {
    "lorabench.cells.run.untouched_scores": "evaluating the untouched base",
    "lorabench.cells.stages.train": "training",
    "lorabench.training.checkpoint.Checkpoint.write": "writing a checkpoint",
    "lorabench.training.checkpoint.Checkpoint.restore": "restoring a checkpoint",
    "lorabench.cells.stages.split_losses": "losses of the splits",
    "lorabench.cells.run.answer_cell": "generating answers",
    "lorabench.cells.run.score_record": "scoring",
    "lorabench.cells.run.write_json": "writing a record",
    "sweeps.sweepers.search.SearchSweeper._ask": "asking the search",
    "sweeps.sweepers.search.SearchSweeper._keep": "writing the journal",
    "sweeps.sweepers.base.CellSweeper.promote": "promoting",
}
"""Functions by the place where they are called, and what a process is doing then."""

NAMES = ["starting", *PHASES.values()]


@dataclass
class Tally:
    """What was done and seen.

    Attributes:
        kills: by what the process was doing.
        aimed: of them, those at a call that writes or renames.
        rounds: commands that were brought to their end.
        repeated: optimizer steps that were done more than once.
        faults: what was not as it should be, in words.
    """

    kills: Counter[str] = field(default_factory=Counter)
    aimed: int = 0
    rounds: int = 0
    repeated: int = 0
    faults: list[str] = field(default_factory=list)


class Shared:
    """What a started process tells, also when it is killed: its phase, and the optimizer steps that it has done."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 16)

    @property
    def phase(self) -> int:
        """A place in ``NAMES``."""
        return struct.unpack_from("i", self._memory, 0)[0]

    @phase.setter
    def phase(self, value: int) -> None:
        struct.pack_into("i", self._memory, 0, value)

    @property
    def steps(self) -> int:
        """Optimizer steps of all processes."""
        return struct.unpack_from("i", self._memory, 4)[0]

    @steps.setter
    def steps(self, value: int) -> None:
        struct.pack_into("i", self._memory, 4, value)


def killed_until_done(words: list[str], folder: Path, kills: int, seed: int) -> Tally:
    """Kill a multirun again and again, and compare what it leaves with what it leaves undisturbed.

    Args:
        words: of the command line, without ``output_dir`` and ``-m``. Checkpoints are written after each step.
        folder: an empty one.
        kills: how many at least.
        seed: of the moments.
    """
    draws, shared, tally = random.Random(seed), Shared(), Tally()
    warm()
    kernel.adopt_orphans()
    others = set(kernel.descendants(os.getpid()))
    started = time.monotonic()
    undisturbed(words, folder, shared)
    seconds, steps = time.monotonic() - started, shared.steps
    expected = content(folder / "undisturbed")
    calls = 12 * len(expected)  # about as many writes and renames as the command has
    while tally.kills.total() < kills:
        output, before, count = folder / f"round-{tally.rounds}", shared.steps, tally.kills.total()
        while True:
            aim = draws.randrange(calls) if draws.random() < 0.5 else None
            pid = start(words, output, shared, folder / "log", aim, draws.random() < 0.5)
            code = ended(pid, None if aim is not None else draws.uniform(0, seconds))
            if code != -signal.SIGKILL:
                break
            tally.kills[NAMES[shared.phase]] += 1
            tally.aimed += aim is not None
            if left := outliving(others):
                tally.faults.append(f"processes outlive the kill: {left}")
        tally.rounds += 1
        if code:
            tally.faults.append(f"exit code {code}: {(folder / 'log').read_text()[-500:]}")
        again = shared.steps - before - steps
        tally.repeated += again
        if again > tally.kills.total() - count:  # at most the step that was killed
            tally.faults.append(f"{again} steps were done again after {tally.kills.total() - count} kills")
        tally.faults += differences(expected, content(output))
    return tally


def outliving(others: set[int]) -> list[str]:
    """What of the processes below this one is still there after some seconds, beside others; what has ended is reaped."""
    deadline = time.monotonic() + 10
    while True:
        left = []
        for pid in set(kernel.descendants(os.getpid())) - others:
            with contextlib.suppress(ChildProcessError, FileNotFoundError, ProcessLookupError):
                if os.waitpid(pid, os.WNOHANG) == (0, 0):
                    left.append(Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")[:100])
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.01)


def warm() -> None:
    """Load the embedded model and draw its task's stories: the processes that are forked then have modules and stories.

    Of one thread: a fork has none of the threads that its parent computed with, and would wait for them.
    """
    import torch
    from hydra import compose, initialize_config_dir

    from lorabench import schema
    from lorabench.cells.cell import Cell
    from lorabench.cells.session import Session

    torch.set_num_threads(1)
    schema.register()
    with initialize_config_dir(str(schema.CONF), version_base="1.3"):
        cell = Cell.of(compose("config", []), Session())
    cell.base()
    cell.task.train_examples()


def undisturbed(words: list[str], folder: Path, shared: Shared) -> None:
    """Run the command to its end, in the folder ``undisturbed``."""
    log = folder / "undisturbed.log"
    if code := ended(start(words, folder / "undisturbed", shared, log)):
        raise RuntimeError(f"the undisturbed command ended with {code}: {log.read_text()[-2000:]}")


def start(words: list[str], output: Path, shared: Shared, log: Path, aim: int | None = None, behind: bool = False) -> int:
    """Start the command; returns the number of its process."""
    shared.phase = 0
    if pid := os.fork():
        return pid
    _child(words, output, shared, log, aim, behind)
    raise AssertionError("a child does not come back")


def ended(pid: int, seconds: float | None = None) -> int:
    """Wait for the end of a process, or kill it after some seconds; returns its exit code."""
    deadline = None if seconds is None else time.monotonic() + seconds
    while True:
        done, status = os.waitpid(pid, os.WNOHANG if deadline is not None else 0)
        if done:
            return os.waitstatus_to_exitcode(status)
        if deadline is not None and time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            deadline = None
        time.sleep(0.002)


def _child(words: list[str], output: Path, shared: Shared, log: Path, aim: int | None, behind: bool) -> None:
    """The command's whole life."""
    code = 1
    try:
        os.setsid()
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1, closefd=False) for number in (1, 2))  # a test has others
        _mark(shared)
        if aim is not None:
            _kill_at(aim, behind)
        sys.argv = ["lorabench", *words, "trainer.checkpoint_minutes=0", f"output_dir={output}", "-m"]
        from lorabench.__main__ import main

        main()
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _mark(shared: Shared) -> None:
    """Let the functions of ``PHASES`` say that they are running, and each step be counted."""
    from importlib import import_module

    for number, place in enumerate(PHASES, 1):
        parts = place.split(".")
        depth = next(i for i in range(len(parts) - 1, 0, -1) if _is_module(".".join(parts[:i])))
        owner: Any = import_module(".".join(parts[:depth]))
        for name in parts[depth:-1]:
            owner = getattr(owner, name)
        setattr(owner, parts[-1], _marked(getattr(owner, parts[-1]), shared, number))
    from lorabench.training.checkpoint import Checkpoint

    due = Checkpoint.due

    def counted(self: Checkpoint) -> bool:
        shared.steps += 1
        return due(self)

    Checkpoint.due = counted  # type: ignore[method-assign]


def _is_module(name: str) -> bool:
    from importlib.util import find_spec

    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def _marked(function: Callable[..., Any], shared: Shared, number: int) -> Callable[..., Any]:
    def marked(*arguments: Any, **named: Any) -> Any:
        before, shared.phase = shared.phase, number
        try:
            return function(*arguments, **named)
        finally:
            shared.phase = before

    return marked


def _kill_at(aim: int, behind: bool) -> None:
    """Kill this process at the call of that number which writes a file down or renames it."""
    count = 0

    def killing(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            nonlocal count
            count += 1
            if count == aim and not behind:
                os.kill(os.getpid(), signal.SIGKILL)
            value = function(*arguments, **named)
            if count == aim:
                os.kill(os.getpid(), signal.SIGKILL)
            return value

        return call

    os.fsync, os.replace = killing(os.fsync), killing(os.replace)
