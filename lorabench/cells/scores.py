"""Scores of answers: by the task's scorer, or by the likelihood of the validation texts."""

import math
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from lorabench.annotations import text_of as shown
from lorabench.cells.answers import ANSWER, SPLITS, Row, generated_splits
from lorabench.cells.cell import Cell
from lorabench.errors import UserError
from lorabench.hooks import fault
from lorabench.models.base import Base
from lorabench.schema import TrainerConfig
from lorabench.tasks.base import Score, Task, summarize
from lorabench.tasks.example import Example, repeated
from lorabench.training.loss import losses_of, mean_loss_stderr

OF_ROW = (*ANSWER, "group")
"""Keys of a row that no scorer may write."""

OF_SUMMARY = ("n", "stderr", "groups", "mean", "sets")
"""Keys of a summary that no number of a scorer may stand for."""

Metrics = dict[str, Any]
"""``{"validation": {"mean", "sets"}, "test": …}`` with scores in 0 … 1."""


def split_losses(cell: Cell, base: Base, model: Any, splits: Sequence[str], trainer: TrainerConfig) -> dict[str, float | None]:
    """Mean losses over the target tokens of a split, by one pass each, as the record has them; ``trainer``: see ``losses_of``.

    ``validation_loss`` always, ``test_loss`` where it is the test score; with ``…_stderr``, the standard error over other
    problems, where the loss is the score.
    """
    corpora, task = cell.corpora(base), cell.task
    losses: dict[str, float | None] = {}
    for split, corpus in (("validation", corpora.validation), ("test", corpora.test)):
        if corpus is None or split not in ("validation", *splits):
            continue
        examples = corpus.encode(range(len(corpus)))
        losses[f"{split}_loss"], each = losses_of(model, examples, trainer, base.tokenizer.pad_token_id)
        if (task.validation if split == "validation" else task.tested) == "likelihood":
            members = task.validation_examples() if split == "validation" else task.test_examples()
            problems = [example.problem for example in members]
            stderr = mean_loss_stderr(each, [example.target_tokens for example in examples], problems)
            if stderr is not None:
                losses[f"{split}_loss_stderr"] = stderr
    return losses


def score(task: Task, rows: Sequence[Row], losses: Mapping[str, Any], splits: Sequence[str] = SPLITS) -> Metrics:
    """Score rows of ``answers.answer`` to the same splits in place and return the metrics.

    Of a split that is not scored by answers, the score is exp(−L), L its mean loss: the geometric mean of its target tokens'
    probabilities; the standard error is that score · the loss's (delta method), or null.

    A row gets its ``group`` where others of its set are of the same problem: such rows are not independent.

    Args:
        task: whose answers they are.
        rows: a completion each.
        losses: ``validation_loss``, ``validation_loss_stderr`` and the same of ``test``, as a record has them.
        splits: that are scored.

    Raises:
        UserError: a problem has no row, or the scorer cannot work now.
    """
    metrics = _likelihoods(task, losses, splits)
    for split, examples in generated_splits(task, splits).items():
        by_id = {row["id"]: row for row in rows if row["split"] == split}
        missing = [example.id for example in examples if example.id not in by_id]
        if missing:
            raise UserError(
                f"the completions at hand lack {len(missing)} of the {len(examples)} {split} problems of task={task.name}, "
                f"such as {missing[0]}; delete them and run the cell again"
            )
        scores = task.score_all(examples, [by_id[example.id]["completion"] for example in examples])
        _check(task, examples, scores)
        metrics[split] = summarize(task, examples, scores)
        _check_summaries(task, metrics[split]["sets"])
        problems = repeated(examples)
        for example, verdict in zip(examples, scores, strict=True):
            row = by_id[example.id]
            kept = {key: row[key] for key in ANSWER}
            group = {"group": problems[example.id]} if example.id in problems else {}
            row.clear()  # of what an earlier scorer said
            row.update(kept | group | verdict)
    return metrics


def score_record(task: Task, rows: Sequence[Row], record: dict[str, Any], splits: Sequence[str]) -> None:
    """Score the completions of a cell, see ``score``, and complete its record."""
    started = time.perf_counter()
    record["metrics"] = score(task, rows, record, splits)
    record["evaluation"]["scoring_seconds"] = round(time.perf_counter() - started, 3)
    record["validation_metric"] = validation_metric(task, record["metrics"])
    record["status"] = "complete"


def _check(task: Task, examples: Sequence[Example], scores: Sequence[Score]) -> None:
    """Raise OwnFault where a scorer gives what cannot be a mean in 0 … 1, cannot be kept, or would overwrite a record's own."""
    hook = _scoring_hook(task)
    if len(scores) != len(examples):
        raise fault(task, hook, f"gave {len(scores)} scores for {len(examples)} completions")
    measured: dict[str, set[str]] = {}
    for example, verdict in zip(examples, scores, strict=True):
        number, numbers = verdict.get("score"), {key for key, kept in verdict.items() if isinstance(kept, int | float)}
        if not isinstance(number, int | float) or not 0 <= number <= 1:
            raise fault(task, hook, f"gave the score {shown(number)} to {example.id}; a score is a number in 0 … 1")
        if odd := sorted(measured.setdefault(example.set, numbers) ^ numbers):
            raise fault(task, hook, f"gave numbers to {example.id} and others of its set, but {odd[0]} not to all of them")
        if lost := [key for key, kept in verdict.items() if not isinstance(kept, str | int | float | list | dict | None)]:
            raise fault(task, hook, f"gave {example.id} a {type(verdict[lost[0]]).__name__} as {lost[0]}, which no JSON holds")
        if taken := [key for key in verdict if key in OF_ROW or key in OF_SUMMARY]:
            raise fault(task, hook, f"gave {example.id} the key {taken[0]}, which a record has for its own; name it otherwise")
        if wild := sorted(key for key in numbers if not abs(verdict[key]) <= sys.float_info.max):
            raise fault(task, hook, f"gave {example.id} {wild[0]}={verdict[wild[0]]!s:.20}; a number must be finite")


def _check_summaries(task: Task, sets: dict[str, dict[str, Any]]) -> None:
    """Raise OwnFault where a number of a set's summary is neither in 0 … 1 nor a count: analyses take it for a fraction."""
    hook = _scoring_hook(task) if type(task).summary is Task.summary else "summary"
    for name, of_set in sets.items():
        for key, number in of_set.items():
            if isinstance(number, float) and not 0 <= number <= 1:
                text = f"gave {key} a mean of {number:g} on {name}; what is reported lies in 0 … 1 (or give it as a text)"
                raise fault(task, hook, text)


def _scoring_hook(task: Task) -> str:
    """Which of the two methods the task implements."""
    return "score" if type(task).score_all is Task.score_all else "score_all"


def zero(task: Task, splits: Sequence[str] = SPLITS) -> Metrics:
    """The scores of a diverged run: 0 on everything."""
    metrics = _likelihoods(task, {f"{split}_loss": math.inf for split in SPLITS}, splits)
    generated = generated_splits(task, splits).items()
    return metrics | {split: summarize(task, examples, [{"score": 0.0}] * len(examples)) for split, examples in generated}


def validation_metric(task: Task, metrics: Metrics) -> dict[str, Any]:
    """Name and value of what a search maximises and a reader selects by."""
    kind = "validation" if task.validation == "score" else "validation_likelihood"
    return {"name": f"{task.name}/{kind}", "value": metrics["validation"]["mean"]}


def _likelihoods(task: Task, losses: Mapping[str, Any], splits: Sequence[str]) -> Metrics:
    """Of validation also where it is not among the splits: a proxy's is always known."""
    examples = {"validation": task.validation_examples, "test": task.test_examples}
    wanted = ["validation"] if task.validation == "likelihood" else []
    wanted += ["test"] if task.tested == "likelihood" and "test" in splits else []
    return {
        split: _likelihood(len(examples[split]()), losses[f"{split}_loss"], losses.get(f"{split}_loss_stderr"))
        for split in wanted
    }


def _likelihood(n: int, loss: float | None, loss_stderr: float | None) -> dict[str, Any]:
    value = 0.0 if loss is None or math.isnan(loss) else math.exp(-loss)  # None: not finite, read back from JSON
    stderr = None if loss_stderr is None else value * loss_stderr
    return {"mean": value, "sets": {"likelihood": {"score": value, "n": n, "stderr": stderr}}}
