"""What a search asked and was told, line by line in a file that is only ever appended to."""

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from sweeps.errors import SweepError
from sweeps.numbers import is_finite
from sweeps.search.base import Observation
from sweeps.space import Space

VERSION = 2
START = f'{{"journal": {VERSION}, "space": "'  # of every header
SHOWN = 3  # differences that a message names
LONG = 64  # characters of both values together, beyond which a message leaves them out


@dataclass
class Trial:
    """A candidate that was asked for.

    Attributes:
        candidate: its number in the space.
        status: ``asked``, ``told`` or ``failed``.
        score: where it was told.
        note: why it failed.
    """

    candidate: int
    status: str = "asked"
    score: float | None = None
    note: str = ""


@contextlib.contextmanager
def held(file: Path) -> Iterator[None]:
    """Keep a journal to this process; the lock ends with it, however it ends.

    Raises:
        SweepError: another process has it.
    """
    lock = FileLock(f"{file}.lock", fallback_to_soft=False)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        raise SweepError(f"{file} belongs to a search that is running; wait for it, or give another seed or journal") from None
    except OSError as error:
        raise SweepError(f"hydra.sweeper.journal={file} cannot be written ({error.strerror})") from error
    try:
        yield
    finally:
        lock.release()


@dataclass
class Journal:
    """The trials of one search. Only one process may have it (see ``held``).

    Args:
        file: JSON lines: the header says of which search; then what was asked, a batch a line, and each answer.
        space: its candidates.
        search: what else decides the questions (method, seed, first points) and the answers (the config).
        title: names of model and task, for who reads the file; a search is the same by another name.

    Raises:
        SweepError: the file is of another search, or is none; it is left as it is.
    """

    file: Path
    space: Space
    search: dict[str, Any]
    title: str = ""
    trials: list[Trial] = field(default_factory=list)

    def __post_init__(self) -> None:
        header = {
            "journal": VERSION,
            "space": self.space.digest,
            "title": self.title,
            "axes": {axis.key: list(axis.texts) for axis in self.space.axes},
            "search": self.search,
        }
        header = json.loads(json.dumps(header))  # as it is read again: lists for tuples
        try:
            content = self.file.read_bytes() if self.file.exists() else b""
        except OSError as error:
            raise SweepError(f"hydra.sweeper.journal={self.file} cannot be read ({error.strerror})") from error
        *lines, cut = content.split(b"\n")
        if not lines:
            if not (START.encode().startswith(cut) or cut.startswith(START.encode())):
                raise SweepError(self._none())
            self.file.parent.mkdir(parents=True, exist_ok=True)
            self.file.write_bytes(b"")  # at most a header that a kill cut: nothing was asked yet
            self._append(header)
            return
        written = self._read(lines[0], 1)
        if written.get("journal") != VERSION:
            raise SweepError(self._none())
        if different := _differences(written, header):
            raise SweepError(
                f"{self.file} is of another search ({different}): go on with its settings, or give another "
                "hydra.sweeper.journal"
            )
        for number, line in enumerate(lines[1:], 2):
            self._replay(self._read(line, number), number)
        if cut:
            os.truncate(self.file, len(content) - len(cut))  # a kill cut the last line; what follows it must stay readable

    def _none(self) -> str:
        return f"{self.file} is no journal of a search (version {VERSION}); give another hydra.sweeper.journal"

    def _read(self, line: bytes, number: int) -> dict[str, Any]:
        try:
            return dict(json.loads(line))
        except (ValueError, TypeError):
            raise SweepError(self._none() if number == 1 else self._damaged(number)) from None

    def _damaged(self, number: int) -> str:
        return f"{self.file}: line {number} is damaged; give another hydra.sweeper.journal"

    def _replay(self, line: dict[str, Any], number: int) -> None:
        """Take over a line: the next trials, or the answer to one that is open."""
        match line:
            case {"ask": [*numbers], "candidates": [*candidates]}:
                following = range(len(self.trials), len(self.trials) + len(candidates))
                if numbers == list(following) and all(isinstance(c, int) and c in range(len(self.space)) for c in candidates):
                    self.trials.extend(map(Trial, candidates))
                    return
            case {"tell": int(trial), "status": "told", "score": score} if trial in self.open() and is_finite(score):
                self.trials[trial] = Trial(self.trials[trial].candidate, "told", score)
                return
            case {"tell": int(trial), "status": "failed", "score": None} if trial in self.open():
                self.trials[trial] = Trial(self.trials[trial].candidate, "failed", None, str(line.get("note", "")))
                return
        raise SweepError(self._damaged(number))

    def ask(self, candidates: Sequence[int]) -> list[int]:
        """Note that candidates are to be evaluated together, in one line; return the trials' numbers.

        So a kill leaves the whole batch or nothing of it, and the next process asks the same.
        """
        numbers = list(range(len(self.trials), len(self.trials) + len(candidates)))
        overrides = [self.space.overrides(candidate) for candidate in candidates]
        self._append({"ask": numbers, "candidates": list(candidates), "overrides": overrides})
        self.trials.extend(map(Trial, candidates))
        return numbers

    def tell(self, number: int, score: float | None, note: str = "") -> None:
        """Note the score of a trial; None if it failed."""
        status = "failed" if score is None else "told"
        self._append({"tell": number, "status": status, "score": score} | ({"note": note} if note else {}))
        trial = self.trials[number]
        trial.status, trial.score, trial.note = status, score, note

    def open(self) -> list[int]:
        """Numbers of the trials that were asked and not answered, as by an interruption."""
        return [number for number, trial in enumerate(self.trials) if trial.status == "asked"]

    def history(self) -> list[Observation]:
        """All answered trials in their order."""
        return [Observation(trial.candidate, trial.score) for trial in self.trials if trial.status != "asked"]

    def _append(self, line: dict[str, Any]) -> None:
        with self.file.open("a") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())


def flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    """The leaves of nested mappings by their dotted keys.

    >>> flatten({"lr": 0.1, "task": {"name": "math"}})
    {'lr': 0.1, 'task.name': 'math'}
    """
    if not isinstance(value, dict):
        return {prefix: value}
    return {k: v for key, item in value.items() for k, v in flatten(item, f"{prefix}.{key}" if prefix else str(key)).items()}


def _differences(written: dict[str, Any], wanted: dict[str, Any]) -> str:
    """What differs between two headers, in words."""
    if written.get("space") != wanted["space"]:
        old_axes, new_axes = written.get("axes", {}), wanted["axes"]
        keys = [key for key in {**old_axes, **new_axes} if old_axes.get(key) != new_axes.get(key)]
        return "another space: " + ", ".join(keys or ["derived keys or the order of the axes"])
    old, new = flatten(written.get("search", {})), flatten(wanted["search"])
    keys = [key for key in {**new, **old} if key not in new or key not in old or old[key] != new[key]]
    # What a user has set stands first: no copy of it in the method's settings, no class, and short keys before what they bring.
    named = [key for key in keys if not key.endswith("_target_") and key.removeprefix("settings.") not in set(keys) - {key}]
    different = [_difference(key, str(old.get(key)), str(new.get(key))) for key in sorted(named or keys, key=_depth)]
    more = [f"and {len(different) - SHOWN} more"] if len(different) > SHOWN else []
    return ", ".join([*different[:SHOWN], *more])


def _depth(key: str) -> int:
    return key.count(".")


def _difference(key: str, written: str, wanted: str) -> str:
    """A hash says nothing to a reader."""
    return f"{key} differs" if len(written) + len(wanted) > LONG else f"{key} {written} instead of {wanted}"
