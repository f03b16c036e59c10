"""What a search asked and was told, line by line in a file that is only ever appended to."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sweeps.search.base import Observation
from sweeps.space import Space, SpaceError

VERSION = 1


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


@dataclass
class Journal:
    """The trials of one search.

    Args:
        file: JSON lines; the first one says of which search.
        space: its candidates.
        search: what else decides the questions (method, seed, first points) and the answers (fixed overrides).

    Raises:
        SpaceError: the file is of another search, or is none.
    """

    file: Path
    space: Space
    search: dict[str, Any]
    trials: list[Trial] = field(default_factory=list)

    def __post_init__(self) -> None:
        header = {
            "journal": VERSION,
            "space": self.space.digest,
            "axes": {axis.key: list(axis.texts) for axis in self.space.axes},
            "search": self.search,
        }
        if not self.file.exists():
            self.file.parent.mkdir(parents=True, exist_ok=True)
            self._append(header)
            return
        lines = self._lines()
        found = lines[0] if lines else {}
        if found.get("journal") != VERSION:
            raise SpaceError(f"{self.file} is no journal of a search; give another hydra.sweeper.journal")
        if different := _differences(found, header):
            raise SpaceError(
                f"{self.file} is of another search ({different}): go on with its settings, or give another "
                "hydra.sweeper.journal"
            )
        for line in lines[1:]:
            if "ask" in line:
                self.trials.append(Trial(line["candidate"]))
            else:
                trial = self.trials[line["tell"]]
                trial.status, trial.score, trial.note = line["status"], line["score"], line.get("note", "")

    def _lines(self) -> list[dict[str, Any]]:
        """The lines; the last one, if a kill cut it, is taken off the file so that what follows stays readable."""
        found, kept = [], 0
        content = self.file.read_bytes()
        for line in content.splitlines(keepends=True):
            if not line.endswith(b"\n"):
                break
            try:
                found.append(dict(json.loads(line)))
            except (ValueError, TypeError):
                raise SpaceError(f"{self.file}: line {len(found) + 1} is damaged, or it is no journal") from None
            kept += len(line)
        if kept < len(content):
            os.truncate(self.file, kept)
        return found

    def ask(self, candidate: int) -> int:
        """Note that a candidate is to be evaluated; return the trial's number."""
        number = len(self.trials)
        self._append({"ask": number, "candidate": candidate, "overrides": self.space.overrides(candidate)})
        self.trials.append(Trial(candidate))
        return number

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


def best(trials: Sequence[Trial]) -> int | None:
    """Number of the trial with the best score, the first of equals."""
    told = [number for number, trial in enumerate(trials) if trial.score is not None]
    return max(told, key=lambda number: (trials[number].score, -number)) if told else None


def _differences(found: dict[str, Any], wanted: dict[str, Any]) -> str:
    """What differs between two headers, in words."""
    if found.get("space") != wanted["space"]:
        axes, mine = found.get("axes", {}), wanted["axes"]
        keys = [key for key in {**axes, **mine} if axes.get(key) != mine.get(key)]
        return "another space: " + ", ".join(keys or ["derived keys or the order of the axes"])
    theirs, ours = found.get("search", {}), wanted["search"]
    return ", ".join(f"{key} {theirs.get(key)} instead of {ours.get(key)}" for key in ours if theirs.get(key) != ours[key])
