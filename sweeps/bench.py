"""Replay search methods on measured landscapes: ``python -m sweeps.bench --tables gemma_math --methods random,tpe,gp``.

Every method gets the same first points for a seed, the same budget and the same candidates. Runs are appended to a file as they
end, and what is in the file is not run again.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sweeps import landscapes
from sweeps.search import design
from sweeps.search.base import Observation, Search
from sweeps.space import Space, SpaceError

METHODS = ("random", "tpe", "gp", "latent_gp", "nomad", "language_bo")


def configured(name: str, changes: Sequence[str] = ()) -> dict[str, Any]:
    """The yaml of a method in ``conf/hydra/sweeper``, over what all share, with changes such as ``method.token=false``.

    Raises:
        SpaceError: no such method.
    """
    from omegaconf import OmegaConf

    here = Path(__file__).resolve().parents[1]
    folder = next(p for p in (here / "conf", here / "lorabench" / "conf") if p.is_dir()) / "hydra" / "sweeper"
    if not (folder / f"{name}.yaml").is_file():
        raise SpaceError(f"there is no method {name}; available: {', '.join(METHODS)}")
    parts = [
        OmegaConf.load(folder / "search.yaml"),
        OmegaConf.load(folder / f"{name}.yaml"),
        OmegaConf.from_dotlist([*changes]),
    ]
    merged: Any = OmegaConf.merge(*parts)
    return {key: merged[key] for key in ("name", "initial", "design", "method")}


def replay(
    landscape: landscapes.Landscape, make: Callable[[Space, int], Search], seed: int, budget: int, initial: int, kind: str
) -> dict[str, Any]:
    """One search on a table: its scores in the order of the evaluations, and the seconds of each question."""
    method = make(landscape.space, seed)
    points = design.first(landscape.space, kind, seed, min(initial, budget))
    history: list[Observation] = []
    seconds = []
    while len(history) < budget:
        point = design.next_first(points, history)
        if point is None:
            started = time.perf_counter()
            point = method.ask(history)
            seconds.append(round(time.perf_counter() - started, 4))
        history.append(Observation(point, float(landscape.scores[point])))
    return {"candidates": [one.candidate for one in history], "scores": [one.score for one in history], "seconds": seconds}


def main() -> None:
    """Run what is missing, and print the tables."""
    from hydra.utils import instantiate

    from sweeps.bench_table import text

    parser = argparse.ArgumentParser(prog="python -m sweeps.bench", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tables", required=True, help=f"of {', '.join(landscapes.names())}; several with commas")
    parser.add_argument("--methods", default=",".join(METHODS), help="names of conf/hydra/sweeper, a change after a colon: "
                        "language_bo:method.token=false")  # fmt: skip
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--budget", type=int, default=30)
    parser.add_argument("--data", type=Path, help="folder of tables that the package does not hold")
    parser.add_argument("--output", type=Path, default=Path("runs/search_bench.jsonl"))
    options = parser.parse_args()
    try:
        found = _read(options.output)
        tables = [landscapes.read(name, options.data) for name in options.tables.split(",")]
        for landscape in tables:
            if options.budget > len(landscape.space):
                raise SpaceError(
                    f"--budget {options.budget} is more than the {len(landscape.space)} candidates of {landscape.name}"
                )
            for label in options.methods.split(","):
                name, *changes = label.split(":")
                config = configured(name, changes)
                if name == "language_bo":
                    config["method"]["text"] = landscape.text
                make = instantiate(config["method"])
                for seed in range(options.seeds):
                    key = {"table": landscape.name, "method": label, "seed": seed, "budget": options.budget}
                    if not any(all(run[k] == v for k, v in key.items()) for run in found):
                        run = key | replay(landscape, make, seed, options.budget, config["initial"], config["design"])
                        found.append(run)
                        _append(options.output, run)
                        print(f"{landscape.name} {label} seed {seed}: {max(run['scores']):.4g}", file=sys.stderr, flush=True)
        wanted = {(table.name, label) for table in tables for label in options.methods.split(",")}
        chosen = [
            run
            for run in found
            if (run["table"], run["method"]) in wanted and run["budget"] == options.budget and run["seed"] < options.seeds
        ]
        print(text(tables, chosen, options.budget))
    except SpaceError as error:
        print(f"sweeps.bench: {error}", file=sys.stderr)
        raise SystemExit(2) from error


def _read(file: Path) -> list[dict[str, Any]]:
    if not file.exists():
        return []
    return [json.loads(line) for line in file.read_text().splitlines() if line.endswith("}")]


def _append(file: Path, run: dict[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    whole = not file.exists() or not file.stat().st_size or file.read_bytes().endswith(b"\n")
    with file.open("a") as lines:  # behind a line that was cut short a new one begins
        lines.write(("" if whole else "\n") + json.dumps(run) + "\n")


if __name__ == "__main__":
    main()
