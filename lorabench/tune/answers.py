"""What the records of a folder say, by ``python -m analysis recommend``, and the command that follows."""

import contextlib
import json
import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from lorabench.errors import UserError
from lorabench.files import read_json
from lorabench.tune.processes import run
from lorabench.tune.question import number
from lorabench.tune.rates import beyond


@dataclass(frozen=True)
class Candidate:
    """A configuration that was trained.

    Attributes:
        overrides: its variant, learning rate, rank and whatever else differs within the folder.
        validation: its mean score over seeds.
        seeds: their number.
    """

    overrides: dict[str, str]
    validation: float
    seeds: int


def candidates(folder: Path, axes: Sequence[str]) -> list[Candidate]:
    """All that were trained, the best on validation first.

    Args:
        folder: of records.
        axes: keys whose values tell them apart.

    Raises:
        UserError: the folder holds cells of other models or tasks, too.
        Stopped: the records cannot be read; analysis has said why.
    """
    entries = _answer(folder)["candidates"]
    return [Candidate(_overrides(entry["overrides"], axes), entry["validation"], len(entry["seeds"])) for entry in entries]


def check_scores(ranked: Sequence[Candidate], folder: Path) -> None:
    """Raise UserError where no candidate scores above 0: more seeds of them would tell nothing."""
    if not ranked or not ranked[0].validation > 0:
        raise UserError(
            f"none of the {len(ranked)} cells in {folder} scores above 0 on validation: look at what they answer "
            f"(python -m analysis responses {folder}); longer answers (task.max_new_tokens), more data or epochs, or "
            "task.scorer=loss may help"
        )


def recommended(folder: Path, axes: Sequence[str]) -> dict[str, str] | None:
    """The overrides of the configuration that is recommended, see ``candidates``; None where that is to train nothing."""
    answer = _answer(folder)
    best = answer["recommended"]
    return None if best is None or answer["untouched_better"] else _overrides(best["overrides"], axes)


def answered(journal: Path) -> int:
    """How many questions of a search have their answer."""
    try:
        lines = journal.read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    return sum(line.startswith('{"tell":') for line in lines)


def _answer(folder: Path) -> dict[str, Any]:
    answers = json.loads(run("analysis", ["recommend", str(folder), "--format", "json"], kept=True))["recommendations"]
    if len(answers) != 1:
        raise UserError(f"{folder} holds cells of {len(answers)} models or tasks; give tune an output_dir of its own")
    return dict(answers[0])


def _overrides(written: dict[str, Any], axes: Sequence[str]) -> dict[str, str]:
    """As words of a command; a learning rate as tune itself writes it, so that equal ones are equal."""
    values = {key.lstrip("+"): value for key, value in written.items()}
    return {key: number(float(values[key])) if key == "lr" else str(values[key]) for key in axes if key in values}


def finalists(ranked: Sequence[Candidate]) -> list[Candidate]:
    """The best, and what the next question is about: the best LoRA, or if that is the best, the best of another method.

    Where no LoRA was tried, the best of another method; of one method alone, its two best.
    """
    best, *others = ranked
    by_method = [other for other in others if other.overrides["variant"] != best.overrides["variant"]]
    rivals = [other for other in others if _is_lora(other) is not _is_lora(best)]
    return [best, *(rivals or by_method or others)[:1]]


def _is_lora(candidate: Candidate) -> bool:
    return candidate.overrides["variant"] == "lora"


def beside(ranked: Sequence[Candidate], listed: Sequence[str]) -> dict[str, str] | None:
    """A finalist with a learning rate that it should be tried at; None where its best lies between two that it was tried at.

    The rival first: a method of few learning rates would be beaten for that alone. It is tried where the best is, and then
    beside its own best one: on the side where nothing was tried, else on that of the better score.

    Args:
        ranked: what was trained, the best first.
        listed: the learning rates to choose among; beyond their ends the steps go on.
    """
    best, *rivals = finalists(ranked)
    goal = float(best.overrides["lr"])
    for finalist in (*(rival for rival in rivals if _curve(rival) != _curve(best)), best):
        curve = {float(one.overrides["lr"]): one.validation for one in ranked if _curve(one) == _curve(finalist)}
        if goal not in curve:
            return finalist.overrides | {"lr": number(goal)}
        rates, lr = sorted({*map(float, listed), *curve}), float(finalist.overrides["lr"])
        place = rates.index(lr)
        lower = rates[place - 1] if place else beyond(rates, upwards=False)
        higher = rates[place + 1] if place + 1 < len(rates) else beyond(rates, upwards=True)
        sides = {higher: [curve[rate] for rate in curve if rate > lr], lower: [curve[rate] for rate in curve if rate < lr]}
        if missing := [rate for rate in sides if rate not in curve]:
            return finalist.overrides | {"lr": number(max(missing, key=lambda rate: max(sides[rate], default=math.inf)))}
    return None


def _curve(candidate: Candidate) -> dict[str, str]:
    """What all points of its learning-rate curve have in common."""
    return {key: value for key, value in candidate.overrides.items() if key != "lr"}


def seconds(folder: Path) -> float:
    """What a cell of the folder took to train and to be scored, the median."""
    took = []
    for file in sorted(folder.glob("*/record.json")):
        record = read_json(file) or {}
        with contextlib.suppress(KeyError, TypeError):  # of a record of another kind, which analysis names
            took.append(record["training"]["seconds"] + record["evaluation"]["seconds"])
    if not took:
        raise UserError(f"no cell in {folder} tells how long it took; give --budget N instead of --hours")
    return median(took)


def final_command(words: Sequence[str], overrides: dict[str, str], folder: Path) -> str:
    """What trains the adapter with the settings that were chosen, for a shell.

    In a folder of its own: a finished cell is not trained again, and those of the search kept no adapter.
    """
    chosen = [f"{key}={value}" for key, value in overrides.items()]
    line = ["lorabench", "run", *words, *chosen, "seed=0", "save_adapter=true", f"output_dir={folder / 'final'}"]
    return shlex.join(line)
