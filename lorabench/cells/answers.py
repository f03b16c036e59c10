"""What a model answers on the validation and test splits of a task, and the file that keeps it."""

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lorabench.files import replaced
from lorabench.generation.base import Generator
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
    """Return the rows, or None where there is no file that can be read."""
    try:
        with gzip.open(file, "rt", encoding="utf-8") as stream:
            return [json.loads(line) for line in stream]
    except (OSError, EOFError, ValueError):
        return None
