"""The file of replays: one JSON line each, appended as they end."""

import contextlib
import json
from pathlib import Path
from typing import Any


class Runs:
    """What a file holds, and what is appended to it.

    Args:
        file: JSON lines; a line that a kill cut short does not count.

    Raises:
        OSError: the file cannot be written.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        file.parent.mkdir(parents=True, exist_ok=True)
        file.open("a").close()
        self._runs: list[dict[str, Any]] = []
        for line in file.read_text(encoding="utf-8").splitlines():
            with contextlib.suppress(json.JSONDecodeError):
                self._runs.append(json.loads(line))

    def get(self, key: dict[str, Any]) -> dict[str, Any] | None:
        """The first run that has the key's entries."""
        return next((run for run in self._runs if all(run.get(name) == value for name, value in key.items())), None)

    def append(self, run: dict[str, Any]) -> None:
        """Add a run, on a line of its own even behind one that was cut short."""
        content = self._file.read_bytes()
        ends = not content or content.endswith(b"\n")
        with self._file.open("a", encoding="utf-8") as lines:
            lines.write(("" if ends else "\n") + json.dumps(run) + "\n")
        self._runs.append(run)
