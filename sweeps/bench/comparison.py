"""Methods compared on tables: replays that a file lacks are run, then the tables are told."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.utils import instantiate

from sweeps.bench import catalog, landscapes, regret_table
from sweeps.bench.landscapes import Landscape
from sweeps.bench.replay import digest, replay
from sweeps.bench.runs import Runs
from sweeps.errors import SweepError
from sweeps.numbers import SCORE
from sweeps.search.base import Search
from sweeps.sweepers import settings


def compare(
    names: Sequence[str],
    labels: Sequence[str],
    seeds: Sequence[int],
    budget: int,
    focus: str | None,
    data: Path | None,
    output: Path,
) -> str:
    """Run what is missing; a Markdown table of each landscape.

    Args:
        names: of tables.
        labels: names of methods, each with its changes behind colons.
        seeds: of the replays.
        budget: evaluations of a replay.
        focus: the label that is compared with each other one; None: the last.
        data: folder of tables that the package does not hold.
        output: file of the runs.

    Raises:
        SweepError: an argument that cannot be, or a method that cannot go on.
    """
    if budget < 1:
        raise SweepError(f"--budget {budget} must be at least 1")
    if focus is not None and focus not in labels:
        raise SweepError(f"--focus {focus} is none of --methods {','.join(labels)}")
    file = _runs(output)
    runs: list[dict[str, Any]] = []
    tables = [landscapes.read(name, data) for name in names]
    for landscape in tables:
        if budget > len(landscape.space):
            raise SweepError(f"--budget {budget} is more than the {len(landscape.space)} candidates of {landscape.name}")
        for label in labels:
            runs += _replay(landscape, label, seeds, budget, file)
    return regret_table.text(tables, runs, budget, focus)


def _runs(file: Path) -> Runs:
    """The runs of a file; one that they cannot be appended to is found out before the first one."""
    if file.is_dir():
        raise SweepError(f"--output {file} is a folder, not a file")
    try:
        return Runs(file)
    except OSError as error:
        raise SweepError(f"--output {file} cannot be written: {error.strerror}") from error


def _replay(landscape: Landscape, label: str, seeds: Sequence[int], budget: int, file: Runs) -> list[dict[str, Any]]:
    """The runs of a method, one a seed; those that the file lacks are made."""
    name, *changes = label.split(":")
    config = catalog.method_config(name, changes, landscape.text)
    settings.first_points(config["initial"], config["design"])
    make = instantiate(config["method"])
    settings.method(make, name, skip=2)
    first = make(landscape.space, seeds[0])
    _check(first)
    made = digest(landscape, config, first.fingerprint())
    runs = []
    for seed in seeds:
        key: dict[str, Any] = {"table": landscape.name, "method": label, "seed": seed, "budget": budget, "made": made}
        run = file.get(key)
        if run is None:
            run = key | replay(landscape, make, seed, budget, config["initial"], config["design"])
            file.append(run)
            print(f"{landscape.name} {label} seed {seed}: {max(run['scores']):{SCORE}}", file=sys.stderr, flush=True)
        runs.append(run)
    return runs


def _check(method: Search) -> None:
    """Raise SweepError for what would stop a question later, also for what an encoder raises, whose package is another's."""
    try:
        method.check()
    except Exception as error:
        if type(error).__module__ == "builtins":  # no message for the user, but a fault
            raise
        raise SweepError(str(error)) from error
