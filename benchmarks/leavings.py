"""What a command leaves, without what a clock or the machine decides, and how two such folders differ."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lorabench.files import read_json

TIMES = {
    "seconds",
    "scoring_seconds",
    "tokens_per_second",
    "peak_memory_bytes",
    "started",
    "finished",
    "proposal_seconds",
    "time",
}
"""Keys of records and journals that a clock or the machine decides."""


def content(folder: Path) -> dict[str, Any]:
    """What a command left: by relative path, what does not depend on clock and machine; of other files that they are there."""
    return dict(_content(folder))


def _content(folder: Path) -> Iterator[tuple[str, Any]]:
    for file in sorted(folder.rglob("*")):
        name = file.relative_to(folder).as_posix()
        if file.is_dir() or file.name.endswith("lock") or file.name == "optimization_results.yaml":
            continue
        if file.suffix == ".json":
            yield name, _timeless(read_json(file), str(folder))
        elif file.suffix == ".jsonl":
            yield name, [_timeless(json.loads(line), str(folder)) for line in file.read_text().splitlines()]
        elif file.name.endswith(".jsonl.gz"):
            yield name, gzip.decompress(file.read_bytes()).decode()
        else:
            yield name, None


def _timeless(value: Any, folder: str) -> Any:
    if isinstance(value, dict):
        return {key: _timeless(item, folder) for key, item in value.items() if key not in TIMES}
    if isinstance(value, list):
        return [_timeless(item, folder) for item in value]
    return value.replace(folder, "") if isinstance(value, str) else value


def differences(expected: dict[str, Any], left: dict[str, Any]) -> list[str]:
    """Files that are too many, too few or not the same, in words."""
    names = sorted(expected.keys() | left.keys())
    lines = []
    for name in names:
        if name not in left:
            lines.append(f"{name} is missing")
        elif name not in expected:
            lines.append(f"{name} was left")
        elif expected[name] != left[name]:
            lines += [f"{name} differs at {place}" for place in _where(expected[name], left[name])]
    return lines


def _where(expected: Any, left: Any, path: str = "") -> Iterator[str]:
    """Each place where they differ, and what is there."""
    if isinstance(expected, dict) and isinstance(left, dict):
        for key in {**expected, **left}:
            if expected.get(key) != left.get(key):
                yield from _where(expected.get(key), left.get(key), f"{path}.{key}")
    else:
        yield f"{path or 'its content'}: {str(expected)[:80]} / {str(left)[:80]}"
