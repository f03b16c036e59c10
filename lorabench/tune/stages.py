"""The stages of ``lorabench tune``, each a command of this project."""

import contextlib
import importlib.util
from collections.abc import Sequence
from pathlib import Path

from lorabench.errors import UserError
from lorabench.files import read_json, write_json
from lorabench.terminal.bars import note
from lorabench.terminal.formats import format_lr
from lorabench.tune import sharpness as by_sharpness
from lorabench.tune.answers import (
    Candidate,
    answered,
    beside,
    candidates,
    check_scores,
    final_command,
    finalists,
    recommended,
    seconds,
)
from lorabench.tune.budget import Shares, cells, shares
from lorabench.tune.processes import Stopped, run
from lorabench.tune.question import SETTINGS, Question, size
from lorabench.tune.rates import first_rates

SHOWN = ("rows", "lengths in tokens")
"""Sections of the preview that are shown; all of it is in a file."""


class Tuning:
    """A question being answered.

    Args:
        question: the user's.
        seeds: of the finalists; None: as the budget has room for.
        search_seed: of the search's first points.

    Attributes:
        folder: where the finalists' records, pages and texts go.
        searched: where the search's records go: their luck chose the finalists, and is in no score of theirs.
    """

    def __init__(self, question: Question, seeds: int | None = None, search_seed: int = 0) -> None:
        self.question, self.seeds, self.search_seed = question, seeds, search_seed
        self.folder: Path = question.folder
        self.searched = self.folder / "searched"

    def run(self, budget: int | None = None, hours: float | None = None, sharpness: bool = True) -> None:
        """Answer it.

        Args:
            budget: cells.
            hours: in their place; both None: as many as conf/tune.yaml says.
            sharpness: whether to measure λmax where it is cheap.

        Raises:
            UserError: something that cannot work.
            Stopped: a stage was interrupted, or could not do its work.
        """
        self._check(budget, hours)
        self._look_at_data()
        axes = self.question.axes(self._rates(sharpness))
        if hours is not None:
            self._train([self.question.default], [1])
            budget = cells(hours, took := seconds(self.folder), self.seeds)
            note(f"tune: the default LoRA takes {took:.3g} s, so {hours:g} h are taken for {budget} cells of that length")
        parts = shares(SETTINGS["budget"] if budget is None else budget, self.seeds)
        ranked = self._search(axes, parts)
        check_scores(ranked, self.searched)
        best = finalists(ranked)
        note(f"tune 4/5: {parts.seeds} seeds of the best {len(best)} and of the default LoRA")
        self._train([self.question.default, *(one.overrides for one in best)], range(1, parts.seeds + 1))
        self._report(list(axes))

    def _check(self, budget: int | None, hours: float | None) -> None:
        if importlib.util.find_spec("botorch") is None:
            raise UserError("tune searches with BoTorch, which is not installed: make install-search")
        if self.seeds is not None and self.seeds < 2:
            raise UserError(f"--seeds={self.seeds} tells nothing of the chance of training; give 2 or more")
        if hours is not None and not 0 < hours < float("inf"):
            raise UserError(f"--hours={hours:g} must be greater than 0 and finite")
        if hours is None:
            shares(SETTINGS["budget"] if budget is None else budget, self.seeds)
        self._keep_question()

    def _keep_question(self) -> None:
        """Refuse a folder that answers another question: its cells would be taken for this one's.

        Settings that decide no result (a device, how large micro-batches are) may change.
        """
        question = {"decides": self.question.digest, "words": sorted(self.question.cell_words)}
        file = self.folder / "question.json"
        kept = read_json(file)
        if kept is not None and kept.get("decides") != question["decides"]:
            differing = sorted({*map(str, kept.get("words", []))} ^ {*question["words"]})
            what = ", ".join(differing) or "other data or weights under the same name"
            raise UserError(f"{self.folder} holds the answer to another question ({what}); give this one output_dir=DIR")
        write_json(file, question)
        self._share_the_untouched_model()

    def _share_the_untouched_model(self) -> None:
        """What the untouched model answers is kept in one place, for the search and the finalists."""
        own = self.searched / "base"
        (self.folder / "base").mkdir(exist_ok=True)
        self.searched.mkdir(exist_ok=True)
        with contextlib.suppress(OSError):  # else it is answered twice
            own.symlink_to("../base")

    def _look_at_data(self) -> None:
        """Refuse what cannot be trained on, and show what the data are."""
        note("tune 1/5: data")
        axes = self.question.axes(first_rates(self._width()))
        chosen = [f"{key}={values[0]}" for key, values in axes.items()]
        text = run("lorabench.tasks", ["preview", *self.question.cell_words, *chosen], kept=True)
        file = self.folder / "preview.txt"
        file.write_text(text, encoding="utf-8")
        head, *sections = text.split("\n\n")
        print("\n\n".join([head, *(part for part in sections if part.partition("\n")[0] in SHOWN)]))
        print(f"three examples as the model sees them: {file}\n", flush=True)

    def _width(self) -> int:
        from lorabench.models.shapes import architecture_config

        return int(architecture_config(self.question.first.model).get_text_config().hidden_size)

    def _rates(self, sharpness: bool) -> list[float]:
        """The learning rates to choose among, unless the user gave some."""
        rates = first_rates(self._width())
        note("tune 2/5: learning rates")
        if "lr" in self.question.given:
            return rates
        variants = self.question.axes(rates)["variant"]
        why = f"by the width of the model, {self._width()}"
        if sharpness and (measured := by_sharpness.others(self.question.first, variants)):
            try:
                rates = by_sharpness.rates_of(self.question.first, self.question.cell_words, measured, rates, self.folder)
                why += f", and by λmax of {', '.join(measured)} at the start ({self.folder / 'sharpness.txt'})"
            except Stopped as stopped:
                if stopped.code >= 128:
                    raise
                note("tune: λmax tells nothing here; the range is LoRA's")
        note(f"tune: {len(rates)} learning rates from {format_lr(rates[0])} to {format_lr(rates[-1])}, {why}")
        return rates

    def _search(self, axes: dict[str, tuple[str, ...]], parts: Shares) -> list[Candidate]:
        """Spend the search's share; returns what was trained, the best first."""
        count = size(axes)
        note(f"tune 3/5: search, {min(parts.search, count)} of {count} combinations of {', '.join(axes)}")
        if count <= parts.search:
            self._cells([f"{key}={','.join(values)}" for key, values in axes.items()], [0], self.searched)
            return candidates(self.searched, list(axes))
        journal, first = self.searched / "search" / "tune.jsonl", parts.search - parts.bracket
        if answered(journal) < first:
            self._ask(axes, first, journal)
        ranked = candidates(self.searched, list(axes))
        while len(ranked) < parts.search and answered(journal) <= first and (following := beside(ranked, axes["lr"])):
            note(f"tune: beside the best learning rate of {following['variant']}, {following['lr']}")
            self._cells([f"{key}={value}" for key, value in following.items()], [0], self.searched)
            ranked = candidates(self.searched, list(axes))
        # What is asked anew may be one of those beside, and then costs nothing.
        while (left := parts.search - len(ranked)) > 0 and (wanted := answered(journal) + left) <= count:
            self._ask(axes, wanted, journal)
            ranked = candidates(self.searched, list(axes))
        return ranked

    def _ask(self, axes: dict[str, tuple[str, ...]], count: int, journal: Path) -> None:
        """Let the search go on until it has so many answers."""
        values = [f"{key}={','.join(of_key)}" for key, of_key in axes.items()]
        method = [f"{key}={str(value).lower()}" for key, value in SETTINGS["search"].items()]
        own = [
            *method,
            f"hydra.sweeper.budget={count}",
            f"hydra.sweeper.seed={self.search_seed}",
            f"hydra.sweeper.journal={journal}",
        ]
        run("lorabench", [*self.question.cell_words, *own, *values, "seed=0", f"output_dir={self.searched}", "-m"])

    def _train(self, chosen: Sequence[dict[str, str]], seeds: Sequence[int]) -> None:
        for place, overrides in enumerate(chosen):
            if overrides not in chosen[:place]:
                self._cells([f"{key}={value}" for key, value in overrides.items()], seeds, self.folder)

    def _cells(self, words: Sequence[str], seeds: Sequence[int], folder: Path) -> None:
        """Train a grid by as many processes as `lorabench sweep` takes; what is done stays."""
        own = [f"seed={','.join(map(str, seeds))}", f"output_dir={folder}"]
        run("lorabench", ["sweep", *self.question.cell_words, *words, *own])

    def _report(self, axes: Sequence[str]) -> None:
        note("tune 5/5: answer")
        default = ",".join(f"{key}={value}" for key, value in self.question.default.items() if key != "variant")
        for folder in (self.searched, self.folder):
            run("analysis", ["report", str(folder)])
        recommend = ["recommend", str(self.folder), "--default", default, "--searched", str(self.searched)]
        answer = f"{run('analysis', recommend, kept=True).rstrip()}\n"
        if overrides := recommended(self.folder, axes):
            line = final_command(self.question.cell_words, overrides, self.folder)
            answer += f"\nTo train the final adapter:\n\n  {line}\n"
        (self.folder / "answer.txt").write_text(answer, encoding="utf-8")
        print(f"\n{answer}", end="")
