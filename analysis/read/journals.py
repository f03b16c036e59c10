"""Journals of searches, `RUNS/search/*.jsonl` as `python -m lorabench hydra/sweeper=METHOD` leaves them → best score so far."""

import json
import logging
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import pandas as pd

from analysis.errors import AnalysisError
from analysis.read.form import characters, get, part, whole
from analysis.read.options import short

log = logging.getLogger(__name__)

VERSION = 2


class Search(NamedTuple):
    """One search.

    Attributes:
        method: its name, and where searches of one problem differ in the method's settings, those: `language_bo token=false`.
        seed: of it.
        problem: what was searched, the same for searches that compare: model, task, axes, and where searches of these differ in
            their cells' config, what of it.
        key: decides which searches compare.
        candidates: in the space.
        scores: of each evaluation in the order they were asked; NaN where it failed or is not answered.
        best: the overrides of the best evaluation.
        settings: of the method, its texts and its first points.
        config: that all its cells share.
    """

    method: str
    seed: int
    problem: str
    key: str
    candidates: int
    scores: list[float]
    best: list[str]
    settings: dict[str, Any]
    config: Mapping[str, Any] = MappingProxyType({})

    def best_so_far(self) -> list[float]:
        """The highest score up to each evaluation; NaN before the first."""
        best, high = [], math.nan
        for score in self.scores:
            high = score if math.isnan(high) or score > high else high
            best.append(high)
        return best


def load_searches(directory: str | Path) -> list[Search]:
    """Read every `directory/*.jsonl` that is a journal; one that cannot be read is left out with one warning line.

    A last line that a kill cut short is not counted. Searches in which nothing is scored yet are left out.
    """
    searches = []
    for path in sorted(Path(directory).glob("*.jsonl")):
        try:
            search = read_journal(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            log.warning("skipped %s: no journal of a search (%s)", path, error)
            continue
        if not all(map(math.isnan, search.scores)):
            searches.append(search)
    return [search._replace(method=_label(search, searches), problem=_title(search, searches)) for search in searches]


def _title(search: Search, all_of_them: Sequence[Search]) -> str:
    """The problem, with the config in which searches of it differ."""
    configs = [alike.config for alike in all_of_them if alike.problem == search.problem]
    own = {key: value for key, value in search.config.items() if not key.endswith("_target_")}
    differing = [key for key in sorted(own) if any(config.get(key) != own[key] for config in configs)]
    words = ", ".join(f"{key.removesuffix('.name')}={short(str(own[key]))}" for key in differing)
    return f"{search.problem} · {words}" if words else search.problem


def _label(search: Search, all_of_them: Sequence[Search]) -> str:
    """The method, with the settings in which searches by it of the same problem differ."""
    of_method = [alike.settings for alike in all_of_them if (alike.key, alike.method) == (search.key, search.method)]
    words = [
        f"{key}={search.settings[key]}"
        for key in search.settings
        if any(settings.get(key) != search.settings[key] for settings in of_method)
    ]
    return " ".join([search.method, *words])


def searches_of(directory: str | Path) -> list[Search]:
    """The searches of `directory/search`, or of `directory`.

    Raises:
        AnalysisError: if there is no such directory, or none with a score.
    """
    directory = Path(directory)
    if not directory.is_dir():
        raise AnalysisError(f"{directory} is not a directory: pass the output_dir of a search (runs by default)")
    folder = directory / "search" if (directory / "search").is_dir() else directory
    searches = load_searches(folder)
    if not searches:
        raise AnalysisError(f"no journal of a search with a score in {folder}")
    return searches


def load_journals(directory: str | Path) -> pd.DataFrame:
    """`searches_of` as one frame.

    Returns:
        One row an evaluation: `space` (searches of one compare), `problem`, its title, `method`, `seed`, `file` (a number),
        `number` from 1 and `best`, the highest score up to it.
    """
    return pd.DataFrame(
        {"space": search.key, "problem": search.problem, "method": search.method, "seed": search.seed, "file": file}
        | {"number": number, "best": best}
        for file, search in enumerate(searches_of(directory))
        for number, best in enumerate(search.best_so_far(), 1)
    )


def read_journal(content: str) -> Search:
    """One journal; raises ValueError with a reason in one line."""
    first, *lines = content[: content.rfind("\n") + 1].splitlines() or [""]
    header = json.loads(first)
    if not isinstance(header, dict) or header.get("journal") != VERSION:
        raise ValueError(f"its first line is no header of version {VERSION}")
    characters(header)
    scores, overrides = _trials(lines)
    search, axes = get(header, "search", dict), get(header, "axes", dict)
    if not all(isinstance(values, list) for values in axes.values()):
        raise ValueError("an axis is no list of values")
    best = max(range(len(scores)), key=lambda i: (-math.inf if math.isnan(scores[i]) else scores[i], -i), default=None)
    return Search(
        method=str(search["method"]),
        seed=whole(search, "seed", 0) if "seed" in search else 0,
        problem=" · ".join(
            filter(
                None,
                [header.get("title") and get(header, "title", str), " × ".join(f"{key} ({len(axes[key])})" for key in axes)],
            )
        ),
        key=json.dumps([header["space"], search.get("config"), search.get("config of the values")], sort_keys=True),
        candidates=math.prod(map(len, axes.values())),
        scores=scores,
        best=[] if best is None or math.isnan(scores[best]) else list(map(str, overrides[best])),
        settings=_settings(search),
        config=part(search, "config"),
    )


def _trials(lines: Sequence[str]) -> tuple[list[float], list[list[str]]]:
    """Score and overrides of each evaluation, by the lines behind the header, as strictly as the search itself reads them."""
    scores: list[float] = []
    overrides: list[list[str]] = []
    opened: set[int] = set()
    for number, line in enumerate(map(json.loads, lines), 2):
        match line:
            case {"ask": [*numbers], "overrides": [*words]} if numbers == list(
                range(len(scores), len(scores) + len(words))
            ) and all(map(_are_texts, words)):
                opened.update(range(len(scores), len(scores) + len(words)))
                scores += [math.nan] * len(words)
                overrides += words
            case {"tell": int(trial), "status": "told", "score": score} if _is_number(score) and trial in opened:
                opened.remove(trial)
                scores[trial] = float(score)
            case {"tell": int(trial), "status": "failed", "score": None} if trial in opened:
                opened.remove(trial)
            case _:
                raise ValueError(f"line {number} is damaged")
    return scores, overrides


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def _settings(search: dict[str, Any]) -> dict[str, Any]:
    """By key, as one writes them."""
    first = {key: search[key] for key in ("initial", "design") if key in search}
    prints = {f"{key} content": str(value)[:6] for key, value in part(search, "fingerprint").items()}
    versions = {f"{name} version": str(version) for name, version in part(search, "version").items()}
    settings = part(search, "settings") | first | prints | versions
    return {key: str(value).lower() if isinstance(value, bool) else str(value) for key, value in settings.items()}
