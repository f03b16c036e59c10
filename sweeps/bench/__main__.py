"""Replay search methods on measured landscapes: ``python -m sweeps.bench --tables gemma_math --methods random,tpe,gp``.

Every method gets the same first points for a seed, the same budget and the same candidates. Runs are appended to a file as they
end, and what is in the file is not run again, unless the table, the method or its code has changed.
"""

import argparse
import contextlib
import hashlib
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sweeps import landscapes, settings
from sweeps.errors import SweepError
from sweeps.search import design
from sweeps.search.base import Observation, Search
from sweeps.space import Space


def methods() -> list[str]:
    """The methods there are: every yaml of ``conf/hydra/sweeper`` that names one."""
    import yaml

    found = {file.stem: yaml.safe_load(file.read_text()).get("method") for file in _folder().glob("*.yaml")}
    return sorted(name for name, method in found.items() if isinstance(method, dict))


def _folder() -> Path:
    here = Path(__file__).resolve().parents[1]
    return next(p for p in (here / "conf", here / "lorabench" / "conf") if p.is_dir()) / "hydra" / "sweeper"


def configured(name: str, changes: Sequence[str] = (), text: str | None = None) -> dict[str, Any]:
    """What a replay needs of the yaml of a method in ``conf/hydra/sweeper``, over what all methods share.

    Args:
        name: of the method.
        changes: such as ``method.token=false``.
        text: the explanations, for a method that reads them.

    Raises:
        SweepError: no such method, or a change of what it does not have.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    if name not in methods():
        raise SweepError(f"there is no method {name}; available: {', '.join(methods())}")
    parts = [OmegaConf.load(_folder() / f"{each}.yaml") for each in ("search", name)]
    whole: Any = OmegaConf.merge(*parts)
    merged: Any = OmegaConf.masked_copy(whole, ["name", "initial", "design", "method"])
    if text is not None and "text" in merged.method:
        merged.method.text = text
    OmegaConf.set_struct(merged, True)
    for change in changes:
        try:
            merged = OmegaConf.merge(merged, OmegaConf.from_dotlist([change]))
        except OmegaConfBaseException as error:
            keys = ", ".join(["initial", "design", *(f"method.{key}" for key in merged.method if not str(key).startswith("_"))])
            raise SweepError(f"{change} changes nothing of {name}; what there is: {keys}") from error
    chosen: Any = OmegaConf.to_container(merged, resolve=True)
    return chosen


def seeds(text: str) -> range:
    """``20``: seeds 0 to 19; ``10-19``: those.

    Raises:
        SweepError: neither.
    """
    first, dash, last = text.partition("-")
    if first.isdecimal() and (not dash or last.isdecimal()):
        found = range(int(first), int(last) + 1) if dash else range(int(first))
        if len(found):
            return found
    raise SweepError(f"--seeds {text} is neither a number of seeds nor FIRST-LAST")


def digest(landscape: landscapes.Landscape, config: dict[str, Any], fingerprint: dict[str, Any]) -> str:
    """Hash of all that decides a replay but its seed and budget.

    That is table, settings, the method's ``fingerprint`` (texts and weights) and the methods' code.
    """
    content = [landscape.space.digest, landscape.text, config, fingerprint]
    found = hashlib.sha256(json.dumps(content, sort_keys=True).encode())
    found.update(landscape.scores.tobytes())
    here = Path(__file__).parent
    for file in sorted([*here.glob("search/*.py"), here / "space.py"]):
        found.update(file.read_bytes())
    return found.hexdigest()[:16]


def replay(
    landscape: landscapes.Landscape, make: Callable[[Space, int], Search], seed: int, budget: int, initial: int, kind: str
) -> dict[str, Any]:
    """One search on a table: its scores in the order of the evaluations, and the seconds of each question."""
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
    run = {"candidates": [one.candidate for one in history], "scores": [one.score for one in history], "seconds": seconds}
    return run | ({"shares": shares} if any(shares) else {})


def main() -> None:
    """Run what is missing, and print the tables."""
    from hydra.utils import instantiate

    from sweeps.bench_table import text

    parser = argparse.ArgumentParser(prog="python -m sweeps.bench", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tables", required=True, help=f"of {', '.join(landscapes.names())}; several with commas")
    parser.add_argument("--methods", default=",".join(methods()), help="names of conf/hydra/sweeper, a change after a colon: "
                        "language_bo:method.token=false (default: all)")  # fmt: skip
    parser.add_argument("--seeds", default="20", help="so many, or FIRST-LAST (default: %(default)s)")
    parser.add_argument("--budget", type=int, default=30)
    parser.add_argument("--focus", help="the method that is compared with each other one (default: the last)")
    parser.add_argument("--data", type=Path, help="folder of tables that the package does not hold")
    parser.add_argument("--output", type=Path, default=Path("runs/search_bench.jsonl"))
    options = parser.parse_args()
    try:
        if options.budget < 1:
            raise SweepError(f"--budget {options.budget} must be at least 1")
        if options.focus is not None and options.focus not in options.methods.split(","):
            raise SweepError(f"--focus {options.focus} is none of --methods {options.methods}")
        _writable(options.output)
        chosen_seeds = seeds(options.seeds)
        found = _read(options.output)
        keys: list[dict[str, Any]] = []
        tables = [landscapes.read(name, options.data) for name in options.tables.split(",")]
        for landscape in tables:
            if options.budget > len(landscape.space):
                raise SweepError(
                    f"--budget {options.budget} is more than the {len(landscape.space)} candidates of {landscape.name}"
                )
            for label in options.methods.split(","):
                name, *changes = label.split(":")
                config = configured(name, changes, landscape.text)
                settings.first_points(config["initial"], config["design"])
                make = instantiate(config["method"])
                settings.method(make, name, given=2)
                first = make(landscape.space, chosen_seeds[0])
                _check(first)
                made = digest(landscape, config, first.fingerprint())
                for seed in chosen_seeds:
                    key = {"table": landscape.name, "method": label, "seed": seed, "budget": options.budget, "made": made}
                    keys.append(key)
                    if not any(_is(run, key) for run in found):
                        run = key | replay(landscape, make, seed, options.budget, config["initial"], config["design"])
                        found.append(run)
                        _append(options.output, run)
                        print(f"{landscape.name} {label} seed {seed}: {max(run['scores']):.4g}", file=sys.stderr, flush=True)
        chosen = [next(run for run in found if _is(run, key)) for key in keys]
        print(text(tables, chosen, options.budget, options.focus))
    except SweepError as error:
        print(f"sweeps.bench: {error}", file=sys.stderr)
        raise SystemExit(2) from error


def _check(method: Search) -> None:
    """Raise SweepError for what would stop a question later, also for what an encoder raises, whose package is another's."""
    try:
        method.check()
    except Exception as error:
        if type(error).__module__ == "builtins":  # no message for the user, but a fault
            raise
        raise SweepError(str(error)) from error


def _is(run: dict[str, Any], key: dict[str, Any]) -> bool:
    return all(run.get(k) == v for k, v in key.items())


def _writable(file: Path) -> None:
    """Raise SweepError for a file that the runs could not be appended to, before the first one."""
    if file.is_dir():
        raise SweepError(f"--output {file} is a folder, not a file")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.open("a").close()
    except OSError as error:
        raise SweepError(f"--output {file} cannot be written: {error.strerror}") from error


def _read(file: Path) -> list[dict[str, Any]]:
    if not file.exists():
        return []
    found = []
    for line in file.read_text().splitlines():
        with contextlib.suppress(json.JSONDecodeError):  # what a kill cut short is run again
            found.append(json.loads(line))
    return found


def _append(file: Path, run: dict[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    whole = not file.exists() or not file.stat().st_size or file.read_bytes().endswith(b"\n")
    with file.open("a") as lines:  # behind a line that was cut short a new one begins
        lines.write(("" if whole else "\n") + json.dumps(run) + "\n")


if __name__ == "__main__":
    main()
