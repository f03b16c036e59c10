"""Scores of a model on the validation and test splits of a task."""

import gzip
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lorabench.generation.base import Generator
from lorabench.tasks.base import Example, Task, summarize

SPLITS = ("validation", "test")


def evaluate(task: Task, generator: Generator) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Generate and score both splits with the weights that the generator serves now.

    Returns:
        ``{"validation": {"mean", "sets"}, "test": …}`` with scores in 0 … 1, and one row a completion.
    """
    examples: dict[str, Sequence[Example]] = {"validation": task.validation_examples(), "test": task.test_examples()}
    everything = [example for split in SPLITS for example in examples[split]]
    completions = generator.generate([task.evaluation_prompt(e) for e in everything], task.max_new_tokens)
    scores = [task.score(e, c) for e, c in zip(everything, completions, strict=True)]
    metrics, rows, start = {}, [], 0
    for split in SPLITS:
        end = start + len(examples[split])
        metrics[split] = summarize(task, examples[split], scores[start:end])
        for example, completion, score in zip(examples[split], completions[start:end], scores[start:end], strict=True):
            row = {"split": split, "set": example.set, "id": example.id, "prompt": task.evaluation_prompt(example)}
            rows.append({**row, "completion": completion, "gold": example.answer or example.target, "score": score})
        start = end
    return metrics, rows


def zero(task: Task) -> dict[str, Any]:
    """The scores of a diverged run: 0 on everything."""
    splits = {"validation": task.validation_examples(), "test": task.test_examples()}
    return {split: summarize(task, examples, [0.0] * len(examples)) for split, examples in splits.items()}


def write_completions(file: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write one JSON object a line, gzipped, by atomic rename; the same rows give the same bytes."""
    scratch = file.with_suffix(f".{os.getpid()}.tmp")
    with scratch.open("wb") as raw, gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0) as stream:
        for row in rows:
            stream.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
    os.replace(scratch, file)
