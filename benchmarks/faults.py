"""Faults of disks, files and clocks during a small grid, which the same command then brings to the bits of an undisturbed one.

Each is tried on a real process. A full or read-only disk is a file system in memory of that size, which takes root to mount.
"""

import contextlib
import json
import os
import random
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import lorabench
from benchmarks.killing import Shared, ended, start, warm
from benchmarks.leavings import content, differences
from lorabench import provenance

WORDS = ["variant=lora,pissa", "train_samples=16", "task.test_samples=4", "task.validation_samples=4"]
SEARCH = ["hydra/sweeper=random", "lr=2e-3,6e-3", "hydra.sweeper.budget=3"]
CHECKPOINT = Path(lorabench.__file__).parent / "tiny" / "checkpoint"
JUMP = 1e7
"""Seconds that a clock jumps at most, 115 days."""
ROOM = 1500
"""Kilobytes that the grid's files and one checkpoint take at most."""


@dataclass
class Fault:
    """What came of one kind.

    Attributes:
        tried: how often.
        codes: the exit codes of the disturbed commands.
        lines: the last lines that they said, each once.
        wrong: what was not as it should be.
    """

    tried: int = 0
    codes: set[int] = field(default_factory=set)
    lines: set[str] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)


class Trials:
    """Disturbs the grid and starts it again.

    Args:
        folder: an empty one.
        seed: of all moments and places.
    """

    def __init__(self, folder: Path, seed: int, more: Sequence[str] = ()) -> None:
        self.folder, self.draws, self.shared, self.words = folder, random.Random(seed), Shared(), [*WORDS, *more]
        folder.mkdir(exist_ok=True)
        if not more:  # the model that is altered
            shutil.copytree(CHECKPOINT, folder / "model")
        warm()
        started = time.monotonic()
        if code := self._run(folder / "undisturbed"):
            raise RuntimeError(f"the undisturbed grid ended with {code}: {self._said()}")
        self.seconds, self.expected = time.monotonic() - started, content(folder / "undisturbed")

    def full(self, tries: int) -> Fault:
        """A disk with room for less and less."""
        with _disk(self.folder / "disk", ROOM + 1000) as disk:
            return self._again(tries, lambda fault, i: self._full(disk, fault, round(ROOM * i / tries)), disk / "runs")

    def read_only(self, tries: int) -> Fault:
        """A disk that takes no write from some moment on."""
        with _disk(self.folder / "disk", ROOM + 1000) as disk:
            return self._again(tries, lambda fault, i: self._read_only(disk, fault), disk / "runs")

    def gone(self, tries: int) -> Fault:
        """A folder that is removed at some moment."""
        output = self.folder / "gone"
        return self._again(tries, lambda fault, i: self._gone(output, fault), output)

    def damaged(self, tries: int) -> Fault:
        """A process that is killed, and one of its files damaged: bits, blocks, its end, or JSON of another content."""
        output = self.folder / "damaged"
        return self._again(tries, lambda fault, i: self._damaged(output, fault), output)

    def clock(self, tries: int) -> Fault:
        """A clock that jumps by days, back and forth, at each look."""
        output = self.folder / "clock"
        return self._again(tries, lambda fault, i: self._clock(output, fault), output)

    def _again(self, tries: int, disturb: Callable[[Fault, int], None], output: Path, more_is_left: bool = False) -> Fault:
        """Disturb, then run the same command undisturbed; what it leaves must be the same, but for what was set aside."""
        fault = Fault()
        for i in range(tries):
            disturb(fault, i)
            if "Traceback" in self._said():
                fault.wrong.append(f"a traceback: {self._said()[-300:]}")
            if code := self._run(output):
                fault.wrong.append(f"then exit code {code}: {self._said()[-300:]}")
            left = {name: value for name, value in content(output).items() if ".damaged" not in name}
            fault.wrong += [
                line for line in differences(self.expected, left) if not (more_is_left and line.endswith("was left"))
            ]
            fault.tried += 1
            shutil.rmtree(output)
        return fault

    def _run(self, output: Path, seconds: float | None = None) -> int:
        return ended(start(self.words, output, self.shared, self.folder / "log"), seconds)

    def _said(self) -> str:
        return (self.folder / "log").read_text()

    def _tell(self, fault: Fault, code: int) -> None:
        fault.codes.add(code)
        said = [line for line in self._said().splitlines() if line.startswith(("lorabench: ", "failed: "))]
        fault.lines |= {line.rpartition("checkpoint_minutes=0")[2].replace(str(self.folder), "…") for line in said[:1]}

    def _full(self, disk: Path, fault: Fault, kilobytes: int) -> None:
        filler = disk / "filler"
        filler.write_bytes(bytes(1024 * (ROOM + 1000 - 20 - kilobytes)))
        self._tell(fault, self._run(disk / "runs"))
        filler.unlink()

    def _read_only(self, disk: Path, fault: Fault) -> None:
        pid = start(self.words, disk / "runs", self.shared, self.folder / "log")
        time.sleep(self.draws.uniform(0, self.seconds))
        for _ in range(200):  # refused while a file is open for writing
            if not _mount("-o", "remount,ro", str(disk)):
                break
            time.sleep(0.002)
        self._tell(fault, ended(pid))
        _mount("-o", "remount,rw", str(disk))

    def _gone(self, output: Path, fault: Fault) -> None:
        pid = start(self.words, output, self.shared, self.folder / "log")
        time.sleep(self.draws.uniform(0, self.seconds))
        shutil.rmtree(output, ignore_errors=True)
        self._tell(fault, ended(pid))

    def _damaged(self, output: Path, fault: Fault) -> None:
        self._run(output, self.draws.uniform(0.3, 1) * self.seconds)
        files = [file for file in output.rglob("*") if file.is_file() and file.stat().st_size and not _only_read_later(file)]
        if files:
            file = self.draws.choice(files)
            file.write_bytes(_damage(file.read_bytes(), self.draws))
        self._tell(fault, self._run(output))

    def _clock(self, output: Path, fault: Fault) -> None:
        draws, times, nanoseconds = self.draws, provenance.datetime, time.time_ns

        class Jumping(datetime):
            @classmethod
            def now(cls, tz: Any = None) -> Any:
                return datetime.now(tz) + timedelta(seconds=draws.uniform(-JUMP, JUMP))

        try:
            provenance.datetime = Jumping  # type: ignore[misc]
            time.time_ns = lambda: nanoseconds() + round(1e9 * draws.uniform(-JUMP, JUMP))
            self._tell(fault, self._run(output))
        finally:
            provenance.datetime, time.time_ns = times, nanoseconds  # type: ignore[misc]
        said = [datetime.fromisoformat(json.loads(file.read_text())["started"]) for file in output.glob("*/record.json")]
        if all(abs(datetime.now(UTC) - one) < timedelta(hours=1) for one in said):
            fault.wrong.append("no clock jumped")

    def model(self, tries: int) -> Fault:
        """A file of the model that is altered while the grid runs, and put back after it."""
        made = Trials(self.folder / "of-model", self.draws.randrange(1000), [f"model=path:{self.folder / 'model'}"])
        weights = self.folder / "model" / "model.safetensors"
        sound = weights.read_bytes()

        def disturb(fault: Fault, _: int) -> None:
            pid = start(made.words, made.folder / "runs", made.shared, made.folder / "log")
            time.sleep(made.draws.uniform(0, made.seconds))
            place = made.draws.randrange(len(sound) // 2, len(sound))
            weights.write_bytes(sound[:place] + bytes([sound[place] ^ 1]) + sound[place + 1 :])
            made._tell(fault, ended(pid))
            weights.write_bytes(sound)

        return made._again(tries, disturb, made.folder / "runs", more_is_left=True)

    def journal(self, tries: int) -> Fault:
        """A search that is killed and its journal damaged; where it refuses that, it begins anew without a journal."""
        made = Trials(self.folder / "of-search", self.draws.randrange(1000), SEARCH)
        output = made.folder / "runs"

        def disturb(fault: Fault, _: int) -> None:
            made._run(output, made.draws.uniform(0.5, 1) * made.seconds)
            for file in output.glob("search/*.jsonl"):
                file.write_bytes(_damage(file.read_bytes(), made.draws) if file.stat().st_size else b"")
            code = made._run(output)
            made._tell(fault, code)
            if code == 2 and made._said().count("lorabench: ") == 1:
                for file in output.glob("search/*.jsonl"):
                    file.unlink()

        return made._again(tries, disturb, output)


def _only_read_later(file: Path) -> bool:
    """Whether no run reads it: completions of what has its scores are for analyses and rescoring, which check them."""
    scores = file.with_name(file.name.replace(".completions.jsonl.gz", ".json"))
    return file.name.endswith("completions.jsonl.gz") and (scores != file or (file.parent / "record.json").exists())


def _damage(whole: bytes, draws: random.Random) -> bytes:
    place = draws.randrange(len(whole))
    block = draws.randrange(1, 4096)
    flipped = whole[:place] + bytes([whole[place] ^ 1 << draws.randrange(8)]) + whole[place + 1 :]
    zeroed = whole[:place] + bytes(min(block, len(whole) - place)) + whole[place + block :]
    return draws.choice([flipped, zeroed, whole[:place], b"", b"{}", b"[]", b'"x"', b"1", os.urandom(200)])


@contextlib.contextmanager
def _disk(folder: Path, kilobytes: int) -> Iterator[Path]:
    folder.mkdir(exist_ok=True)
    if _mount("-t", "tmpfs", "-o", f"size={kilobytes}k", "lorabench", str(folder)):
        raise PermissionError("only root can mount a disk of a size")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def _mount(*words: str) -> int:
    return subprocess.run(["mount", *words], stderr=subprocess.DEVNULL).returncode


def injected(folder: Path, seed: int, tries: int) -> Iterator[tuple[str, Fault]]:
    """Each kind of fault in words, and what came of it."""
    trials = Trials(folder, seed)
    kinds: list[Any] = [
        trials.full, trials.read_only, trials.gone, trials.damaged, trials.journal, trials.model, trials.clock,
    ]  # fmt: skip
    for kind in kinds:
        words = kind.__doc__.strip().rstrip(".")
        try:
            yield words, kind(tries)
        except PermissionError as error:
            yield f"{words}: not tried ({error})", Fault()
