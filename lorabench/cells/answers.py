"""What a model answers on the validation and test splits of a task, and the file that keeps it."""

import gzip
import json
import os
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lorabench.files import replaced
from lorabench.generation.base import Generator
from lorabench.records.kept import set_aside
from lorabench.tasks.base import Example, Task

Row = dict[str, Any]
"""One completion: the keys of ``ANSWER``, and what its task's scorer says of it."""

SPLITS = ("validation", "test")
ANSWER = ("split", "set", "id", "prompt", "completion", "gold")


def generated_splits(task: Task, splits: Sequence[str] = SPLITS) -> dict[str, list[Example]]:
    """Those of the splits that are answered by generation, with their examples: where answers can be scored."""
    scored = {"validation": task.validation == "score", "test": task.tested == "score"}
    examples = {"validation": task.validation_examples, "test": task.test_examples}
    return {split: examples[split]() for split in SPLITS if split in splits and scored[split]}


def answer(task: Task, generator: Generator, splits: Sequence[str] = SPLITS) -> list[Row]:
    """Generate with the weights that the generator serves now; one row a completion, not yet scored."""
    examples = [(split, example) for split, members in generated_splits(task, splits).items() for example in members]
    answers = task.complete(
        [example for _, example in examples], lambda prompts: generator.generate(prompts, task.max_new_tokens, task.stop)
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
        for (split, example), (prompt, completion) in zip(examples, answers, strict=True)
    ]


def write_completions(file: Path, rows: Sequence[Row]) -> None:
    """Write one JSON object a line, gzipped, by atomic rename; the same rows give the same bytes."""
    with replaced(file) as scratch, scratch.open("wb") as raw, gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as stream:
        for row in rows:
            stream.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")


def read_completions(file: Path) -> list[Row] | None:
    """Return the rows, or None where there is no file of such."""
    try:
        with gzip.open(file, "rt", encoding="utf-8") as stream:
            rows = [json.loads(line) for line in stream]
    except (OSError, EOFError, ValueError, RecursionError, zlib.error):
        return None
    sound = all(isinstance(row, dict) and all(isinstance(row.get(key), str) for key in ANSWER) for row in rows)
    return rows if sound else None


def kept_rows(file: Path, task: Task, splits: Sequence[str], instead: str) -> list[Row] | None:
    """The rows of who holds the lock: what is there and does not hold all answers is set aside, see ``kept.set_aside``."""
    rows = read_completions(file)
    answered = {(row["split"], row["id"]) for row in rows or []}
    wanted = {(split, example.id) for split, members in generated_splits(task, splits).items() for example in members}
    if rows is not None and wanted <= answered:
        return rows
    if os.path.lexists(file):
        set_aside(file, f"{file} does not hold the answers to the problems of task={task.name}", instead)
    return None
