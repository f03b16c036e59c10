"""The file that a sweep leaves: its best, in the form of Hydra's own sweepers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock
from omegaconf import OmegaConf

from sweeps.files import remove_leftovers, replaced
from sweeps.sweepers.promotion import Promoted

RESULTS = "optimization_results.yaml"


def results(
    name: str,
    cells: Sequence[Sequence[str]],
    scores: Sequence[float | None],
    promoted: Sequence[Promoted] = (),
    unanswered: int = 0,
    **more: str,
) -> dict[str, Any] | None:
    """The best evaluation so far, and the promoted cells; None before any score.

    >>> results("grid", [["lr=1e-4"], ["lr=1e-3"]], [0.5, 0.7])["best_evaluated_params"]
    {'lr': 0.001}

    Args:
        name: of the method.
        cells: overrides of the evaluations.
        scores: theirs; None: failed, or one of the ``unanswered``.
        promoted: the full cells.
        unanswered: evaluations that are still open.
        more: to be written too.
    """
    measured = {number: score for number, score in enumerate(scores) if score is not None}
    if not measured:
        return None
    best = max(measured, key=measured.__getitem__)  # the first of equals
    content: dict[str, Any] = {
        "name": name,
        "best_evaluated_params": params(cells[best]),
        "best_evaluated_result": measured[best],
        "evaluation": best + 1,
        "evaluations": len(scores) - unanswered,
        "failed": len(scores) - unanswered - len(measured),
        **more,
    }
    if promoted:
        content["promoted_results"] = [
            {"params": params(full.overrides), "proxy": full.proxy, "score": full.score} for full in promoted
        ]
    return content


def params(overrides: Sequence[str]) -> dict[str, int | float | str]:
    """Overrides as values by key.

    >>> params(["rank=8", "lr=1e-4", "variant=lora"])
    {'rank': 8, 'lr': 0.0001, 'variant': 'lora'}
    """
    return {key: _parse_value(text) for key, _, text in (override.partition("=") for override in overrides)}


def _parse_value(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def write(content: dict[str, Any], *files: Path) -> None:
    """Write a yaml to each of the files, one process at a time."""
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{file}.lock", fallback_to_soft=False):
            remove_leftovers(file)
            with replaced(file) as scratch:
                OmegaConf.save(OmegaConf.create(content), scratch)
