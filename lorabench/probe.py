"""Measurements between the steps of a training run, kept in a file so that an interrupted run has them too."""

import contextlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lorabench.progress import PROGRESS
from lorabench.train import Training

OnStep = Callable[[Training, int], None]


class Watch:
    """Measures before the first step, after every ``every`` steps and after the last one; a callback of ``train``.

    A step that the file has is not measured again: a run that goes on repeats its bits. What the file has under another
    ``key`` is dropped.

    Args:
        every: steps between two measurements.
        file: one JSON line for each measured step.
        key: of what is measured, and of the values that the run started from.
        measure: gives what the line holds, and leaves the model as it was. For weights at which nothing finite comes out it
            raises ArithmeticError: the line says so, and the run goes on to where its loss tells.
        on_step: called first after each step.
    """

    def __init__(self, every: int, file: Path, key: str, measure: Callable[[], list[dict[str, Any]]], on_step: OnStep):
        self.every, self.file, self.key, self.measure, self.on_step = every, file, key, measure, on_step
        self._look(0)

    def __call__(self, done: Training, total: int) -> None:
        """After a step."""
        self.on_step(done, total)
        if not done.diverged and (done.steps % self.every == 0 or done.steps == total):
            self._look(done.steps)

    def _look(self, step: int) -> None:
        stored = _stored(self.file)
        found = [row for row in stored if row.get("key") == self.key]
        if len(found) < len(stored):
            PROGRESS.note(f"{self.file}: dropped what was measured with other settings or from another start")
        if step in {row["step"] for row in found}:
            return
        row: dict[str, Any] = {"step": step, "key": self.key, "blocks": []}
        try:
            row["blocks"] = self.measure()
            told = f"largest λmax {max(block['lambda_max'] for block in row['blocks']):.4g}"
        except ArithmeticError as error:
            row["error"] = told = str(error)
        scratch = self.file.with_suffix(f".{os.getpid()}.tmp")
        scratch.write_text("".join(f"{json.dumps(each)}\n" for each in [*found, row]))
        os.replace(scratch, self.file)
        PROGRESS.note(f"  step {step}: {told}")


def rows(file: Path) -> list[dict[str, Any]]:
    """What a run has measured so far."""
    return [{name: value for name, value in row.items() if name != "key"} for row in _stored(file)]


def _stored(file: Path) -> list[dict[str, Any]]:
    """The file's lines; one that was cut off does not count."""
    found = []
    for line in file.read_text().splitlines() if file.exists() else []:
        with contextlib.suppress(json.JSONDecodeError):
            found.append(json.loads(line))
    return found
