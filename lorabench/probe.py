"""Measurements between the steps of a training run, kept in a file so that an interrupted run has them too."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lorabench.progress import PROGRESS
from lorabench.train import Training

OnStep = Callable[[Training, int], None]


class Watch:
    """Measures before the first step, after every ``every`` steps and after the last one; a callback of ``train``.

    A step that the file has is not measured again: a run that goes on repeats its bits.

    Args:
        every: steps between two measurements.
        file: one JSON line for each measured step.
        measure: gives what the line holds, and leaves the model as it was.
        on_step: called first after each step.
    """

    def __init__(self, every: int, file: Path, measure: Callable[[], list[dict[str, Any]]], on_step: OnStep):
        self.every, self.file, self.measure, self.on_step = every, file, measure, on_step
        self._look(0)

    def __call__(self, done: Training, total: int) -> None:
        """After a step."""
        self.on_step(done, total)
        if not done.diverged and (done.steps % self.every == 0 or done.steps == total):
            self._look(done.steps)

    def _look(self, step: int) -> None:
        found = rows(self.file)
        if step in {row["step"] for row in found}:
            return
        found.append({"step": step, "blocks": self.measure()})
        self.file.write_text("".join(f"{json.dumps(row)}\n" for row in found))
        PROGRESS.note(f"  step {step}: largest λmax {max(block['lambda_max'] for block in found[-1]['blocks']):.4g}")


def rows(file: Path) -> list[dict[str, Any]]:
    """What a run has measured so far; a line that an interruption cut off does not count."""
    lines = file.read_text().splitlines() if file.exists() else []
    return [json.loads(line) for line in lines if line.endswith("}")]
