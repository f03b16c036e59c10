"""Scores of single test problems, from the completions that a cell leaves beside its record."""

import gzip
import json
import logging
import math
import zlib
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from analysis.files import digest
from analysis.read.form import fraction, get

log = logging.getLogger(__name__)

COMPLETIONS = "completions.jsonl.gz"
_KNOWN: dict[Any, Any] = {}
TEXTS = ("set", "id", "prompt", "completion", "gold")

SAME = 1e-6
"""Completions whose mean is further from the records' than this are scored by another rule, and tell nothing of it."""


class Question(NamedTuple):
    """What a test problem asks: problems of several tasks may share an id."""

    id: str
    prompt: str
    gold: str


class Answers(NamedTuple):
    """How a cell answered one test set.

    Attributes:
        problems: by rising id; one tuple for all cells that answered the same.
        scores: of each problem, NaN where it has none yet.
        labels: of each problem; those of one label are not independent, such as two turns of a conversation.
    """

    problems: tuple[Question, ...]
    scores: np.ndarray
    labels: tuple[str, ...]


def completions(record: str | Path) -> Iterator[dict[str, Any]]:
    """The completions of a cell's test problems, by the path of its record: dicts of `TEXTS` and `score`, NaN if unscored.

    A file that is missing or damaged, if only in one line, yields none.
    """
    if answers(record):
        yield from _test(_path(record))


def answers(record: str | Path) -> dict[str, Answers]:
    """By test set; empty where a cell has none, with a warning if its file is damaged."""
    path = _path(record)
    try:
        status = path.stat()
    except OSError:
        return {}
    return _answers(path, (status.st_mtime_ns, status.st_size))


def scores(record: str) -> dict[str, dict[str, float]]:
    """Score of each scored test problem, by set and id; empty where a cell has none."""
    return {
        name: {
            question.id: score
            for question, score in zip(of_set.problems, of_set.scores.tolist(), strict=True)
            if score == score
        }
        for name, of_set in answers(record).items()
    }


def shared_scores(records: Sequence[Sequence[str]]) -> tuple[list[list[np.ndarray]], list[list[str]]]:
    """Scores of several models on the problems that all of their cells have.

    Args:
        records: for each model the records of its seeds; as many of each.

    Returns:
        For each model and test set the scores [seeds, problems], and the labels of each set's problems (`Answers`). Without a
        common problem both are empty.
    """
    by_set = [[answers(record) for record in of_model] for of_model in records]
    every = [cell for of_model in by_set for cell in of_model]
    arrays: list[list[np.ndarray]] = [[] for _ in by_set]
    labels = []
    for name in sorted(set.intersection(*(set(cell) for cell in every))) if every else []:
        places = _common([cell[name] for cell in every])
        if not places[0].size:
            continue
        first = every[0][name].labels
        labels.append([first[place] for place in places[0].tolist()])
        at = iter(places)
        for of_model, cells in zip(arrays, by_set, strict=True):
            of_model.append(np.stack([cell[name].scores[next(at)] for cell in cells]))
    return (arrays, labels) if labels else ([], [])


def verified_scores(models: Sequence[Sequence[dict[str, Any]]]) -> tuple[list[list[np.ndarray]], list[list[str]]] | None:
    """`shared_scores` of the records of several models' cells, where it is what they were scored by.

    Args:
        models: for each the rows of its seeds (`read.load.load_records`), none of them failed; as many of each.

    Returns:
        None without a common problem, and unless the mean over test sets of each model's scores is, within `SAME`, the mean of
        its cells' test scores: a file may have been cut short, or be scored by another rule.
    """
    arrays, labels = shared_scores([[str(cell["path"]) for cell in cells] for cells in models])
    means = [np.mean([of_set.mean() for of_set in of_model]) for of_model in arrays]
    recorded = [np.mean([cell["test"] for cell in cells]) for cells in models]
    return (arrays, labels) if arrays and np.allclose(means, recorded, rtol=0, atol=SAME) else None


def _common(cells: Sequence[Answers]) -> list[np.ndarray]:
    """For each cell the places of the problems that all have scored, by rising id."""
    if all(cell.problems is cells[0].problems for cell in cells):
        return [np.flatnonzero(~np.isnan(np.stack([cell.scores for cell in cells])).any(0))] * len(cells)
    scored = [
        {question.id: place for place, question in enumerate(cell.problems) if not math.isnan(cell.scores[place])}
        for cell in cells
    ]
    ids = sorted(set.intersection(*map(set, scored)))
    return [np.array([place_of[question] for question in ids], dtype=int) for place_of in scored]


def untouched(record: str | Path) -> Path | None:
    """The completions of the untouched base of a cell, which take the place of a record's path; None where there are none.

    A folder of cells keeps them once for all that are answered alike, under a hash of what decides the answers: RUNS/base.
    """
    identity = json.loads(Path(record).read_text(encoding="utf-8"))["identity"]
    try:
        parts = [identity["model"], identity["task"], identity["evaluator"], identity["trainer"]["max_length"]]
    except (KeyError, TypeError):  # of schema 1, whose base is kept under another name
        return None
    path = Path(record).parents[1] / "base" / f"{digest(parts)}.{COMPLETIONS}"
    return path if path.is_file() else None


def _path(record: str | Path) -> Path:
    """Beside a record; completions of a name of their own stand for themselves."""
    path = Path(record)
    return path if path.name.endswith(COMPLETIONS) else path.parent / COMPLETIONS


@lru_cache(maxsize=16384)
def _answers(path: Path, changed: tuple[int, int]) -> dict[str, Answers]:
    by_name: dict[str, dict[str, tuple[Question, float, str]]] = {}
    try:
        for line in _test(path):
            question = Question(line["id"], line["prompt"], line["gold"])
            of_set = by_name.setdefault(line["set"], {})
            if question.id in of_set:
                raise ValueError(f"the test problem {question.id!r} of {line['set']!r} twice")
            of_set[question.id] = (_once(question), line["score"], f"group {line['group']}" if "group" in line else question.id)
    except (OSError, EOFError, ValueError, RecursionError, zlib.error) as error:
        log.warning("left out the completions in %s: %s", path, error)
        return {}
    rows = {name: [of_set[line] for line in sorted(of_set)] for name, of_set in by_name.items()}
    return {
        name: Answers(_once(questions), np.array(scored), _once(labels))
        for name, of_set in rows.items()
        for questions, scored, labels in [zip(*of_set, strict=True)]
    }


def _once(value: Any) -> Any:
    """The first object of all that are equal: thousands of cells answer the same problems."""
    return _KNOWN.setdefault(value, value)


def _test(path: Path) -> Iterator[dict[str, Any]]:
    """The checked lines of the test split."""
    number = 0
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                completion = json.loads(line)
                if not isinstance(completion, dict):
                    raise ValueError(f"a JSON {type(completion).__name__}, not an object")
                if completion.get("split") == "test":
                    yield _check(completion)
            except ValueError as error:
                raise ValueError(f"line {number}: {error}") from None
    if not number and not path.stat().st_size:  # of a cell that generates nothing it is the archive of no line
        raise ValueError("empty")


def _check(completion: dict[str, Any]) -> dict[str, Any]:
    for key in TEXTS:
        if not isinstance(completion.get(key), str):
            get(completion, key, str)  # raises
    if "group" in completion:
        get(completion, "group", str)
    score = completion.get("score")
    if score is None:
        completion["score"] = math.nan
    elif isinstance(score, (int, float)) and not isinstance(score, bool) and 0 <= score <= 1:
        completion["score"] = float(score)
    else:
        fraction(completion, "score")  # raises
    return completion
