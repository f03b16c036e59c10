"""One search on a table, and the hash of all that decides it."""

import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sweeps.bench.landscapes import Landscape
from sweeps.search import design
from sweeps.search.base import Observation, Search
from sweeps.space import Space

CODE = ("space.py", "language/*.py", "processes/*.py", "search/*.py")
"""The files of this package that questions follow from."""


def digest(landscape: Landscape, config: dict[str, Any], fingerprint: dict[str, Any]) -> str:
    """Hash of all that decides a replay but its seed and budget.

    That is table, settings, the method's ``fingerprint`` (texts and weights) and the methods' code.
    """
    content = [landscape.space.digest, landscape.text, config, fingerprint]
    made = hashlib.sha256(json.dumps(content, sort_keys=True).encode())
    made.update(landscape.scores.tobytes())
    package = Path(__file__).resolve().parents[1]
    for pattern in CODE:
        for file in sorted(package.glob(pattern)):
            made.update(file.read_bytes())
    return made.hexdigest()[:16]


def replay(
    landscape: Landscape, make: Callable[[Space, int], Search], seed: int, budget: int, initial: int, kind: str
) -> dict[str, Any]:
    """One search on a table.

    Args:
        landscape: the table; the method sees scores of what it asked for alone.
        make: the method, from a space and a seed.
        seed: of the method and its first points.
        budget: evaluations.
        initial: evaluations of the design before the method is asked.
        kind: of design.

    Returns:
        ``candidates`` and their ``scores`` in the order of the evaluations, the ``seconds`` of each question, and of a method
        that averages models the ``shares``.
    """
    method = make(landscape.space, seed)
    points = design.first(landscape.space, kind, seed, min(initial, budget))
    history: list[Observation] = []
    seconds, shares = [], []
    while len(history) < budget:
        point = design.next_first(points, history)
        if point is None:
            started = time.perf_counter()
            point = method.ask(history)
            seconds.append(round(time.perf_counter() - started, 4))
            shares.append({name: round(share, 4) for name, share in method.shares.items()})
        history.append(Observation(point, float(landscape.scores[point])))
    candidates, scores = zip(*history, strict=True)
    run: dict[str, Any] = {"candidates": list(candidates), "scores": list(scores), "seconds": seconds}
    return run | ({"shares": shares} if any(shares) else {})
