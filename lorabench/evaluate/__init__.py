"""Completions and scores of a model on the validation and test splits of a task."""

import gzip
import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lorabench.errors import UserError
from lorabench.generation.base import Generator
from lorabench.tasks.base import Example, Task, summarize

Row = dict[str, Any]  # one completion: ANSWER's keys and what its task's scorer says of it
SPLITS = ("validation", "test")
ANSWER = ("split", "set", "id", "prompt", "completion", "gold")


def generated_splits(task: Task, splits: Sequence[str] = SPLITS) -> dict[str, list[Example]]:
    """Those of the splits that are answered by generation, with their examples: validation only where it can be scored."""
    found = {"validation": task.validation_examples()} if "validation" in splits and task.validation == "score" else {}
    return found | ({"test": task.test_examples()} if "test" in splits else {})


def answer(task: Task, generator: Generator, splits: Sequence[str] = SPLITS) -> list[Row]:
    """Generate with the weights that the generator serves now; one row a completion, not yet scored."""
    wanted = generated_splits(task, splits)
    everything = [(split, example) for split, examples in wanted.items() for example in examples]
    found = task.complete(
        [example for _, example in everything], lambda prompts: generator.generate(prompts, task.max_new_tokens, task.stop)
    )
    return [
        {
            "split": split,
            "set": example.set,
            "id": example.id,
            "prompt": prompt,
            "completion": completion,
            "gold": example.answer or example.target,
            "score": None,
        }
        for (split, example), (prompt, completion) in zip(everything, found, strict=True)
    ]


def score(task: Task, rows: Sequence[Row], validation_loss: float | None, splits: Sequence[str] = SPLITS) -> dict[str, Any]:
    """Score rows of ``answer`` to the same splits in place and return the metrics.

    Returns:
        ``{"validation": {"mean", "sets"}, "test": …}`` with scores in 0 … 1. For a task whose validation split cannot be
        scored, its score is exp(−``validation_loss``), the geometric mean of its target tokens' probabilities.

    Raises:
        UserError: a problem has no row, or the scorer cannot work now.
    """
    metrics = {"validation": _likelihood(task, validation_loss)} if task.validation == "likelihood" else {}
    for split, examples in generated_splits(task, splits).items():
        by_id = {row["id"]: row for row in rows if row["split"] == split}
        missing = [example.id for example in examples if example.id not in by_id]
        if missing:
            raise UserError(
                f"the completions at hand lack {len(missing)} of the {len(examples)} {split} problems of task={task.name}, "
                f"such as {missing[0]}; delete them and run the cell again"
            )
        scores = task.score_all(examples, [by_id[example.id]["completion"] for example in examples])
        metrics[split] = summarize(task, examples, scores)
        for example, one in zip(examples, scores, strict=True):
            row = by_id[example.id]
            kept = {key: row[key] for key in ANSWER}
            row.clear()  # of what an earlier scorer said
            row.update(kept | one)
    return metrics


def _likelihood(task: Task, loss: float | None) -> dict[str, Any]:
    value = 0.0 if loss is None or math.isnan(loss) else math.exp(-loss)  # None: not finite, read back from JSON
    return {"mean": value, "sets": {"likelihood": {"score": value, "n": len(task.validation_examples()), "stderr": None}}}


def zero(task: Task, splits: Sequence[str] = SPLITS) -> dict[str, Any]:
    """The scores of a diverged run: 0 on everything."""
    metrics = {"validation": _likelihood(task, math.inf)} if task.validation == "likelihood" else {}
    wanted = generated_splits(task, splits).items()
    return metrics | {split: summarize(task, examples, [{"score": 0.0}] * len(examples)) for split, examples in wanted}


def write_completions(file: Path, rows: Sequence[Row]) -> None:
    """Write one JSON object a line, gzipped, by atomic rename; the same rows give the same bytes."""
    scratch = file.with_suffix(f".{os.getpid()}.tmp")
    with scratch.open("wb") as raw, gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0) as stream:
        for row in rows:
            stream.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
    os.replace(scratch, file)


def read_completions(file: Path) -> list[Row] | None:
    """Return the rows, or None where there is no file that can be read."""
    try:
        with gzip.open(file, "rt", encoding="utf-8") as stream:
            return [json.loads(line) for line in stream]
    except (OSError, EOFError, ValueError):
        return None
