"""A probe's measurements between the steps of a run, kept in a file so that an interrupted run has them too."""

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lorabench.files import replaced
from lorabench.terminal.bars import note
from lorabench.training.loop import OnStep, Training


class Watch:
    """Measures before the first step, after every ``every`` steps and after the last one; a callback of ``train``.

    A step that the file has is not measured again: a run that goes on repeats its bits. What the file has under another
    ``key`` is dropped.

    Args:
        every: steps between two measurements.
        file: one JSON line for each measured step.
        key: of what is measured, and of the values that the run started from.
        measure: gives what the line holds, see ``Probe.measure``.
        on_step: called first after each step.
    """

    def __init__(self, every: int, file: Path, key: str, measure: Callable[[], list[dict[str, Any]]], on_step: OnStep):
        self.every, self.file, self.key, self.measure, self.on_step = every, file, key, measure, on_step
        self._look(0)

    def __call__(self, training: Training, total: int) -> None:
        """After a step."""
        self.on_step(training, total)
        if not training.diverged and (training.steps % self.every == 0 or training.steps == total):
            self._look(training.steps)

    def _look(self, step: int) -> None:
        stored = _read_rows(self.file)
        kept = [row for row in stored if row.get("key") == self.key]
        if len(kept) < len(stored):
            note(f"{self.file}: dropped what was measured with other settings or from another start")
        if step in {row["step"] for row in kept}:
            return
        row: dict[str, Any] = {"step": step, "key": self.key, "blocks": []}
        try:
            row["blocks"] = blocks = self.measure()
            largest = max((block["lambda_max"] for block in blocks if "lambda_max" in block), default=None)
            summary = f"{len(blocks)} measured" if largest is None else f"largest λmax {largest:.4g}"
        except ArithmeticError as error:
            row["error"] = summary = str(error)
        with replaced(self.file) as scratch:
            scratch.write_text("".join(f"{json.dumps(line)}\n" for line in [*kept, row]))
        note(f"  step {step}: {summary}")


def rows(file: Path) -> list[dict[str, Any]]:
    """What a run has measured so far."""
    return [{name: value for name, value in row.items() if name != "key"} for row in _read_rows(file)]


def _read_rows(file: Path) -> list[dict[str, Any]]:
    """The file's lines; one that was cut off does not count."""
    stored = []
    for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else []:
        with contextlib.suppress(json.JSONDecodeError):
            stored.append(json.loads(line))
    return [row for row in stored if isinstance(row, dict) and isinstance(row.get("step"), int)]
