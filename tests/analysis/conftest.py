"""Synthetic records: what a finished cell leaves, without training one."""

from __future__ import annotations

import gzip
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from block_records import write as write_block

from analysis.files import digest

WriteRecord = Callable[..., Path]


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """An empty output directory."""
    directory = tmp_path / "runs"
    directory.mkdir()
    return directory


@pytest.fixture
def write(runs: Path) -> WriteRecord:
    """`write(variant, lr, seed, test, validation=…, config={…}, **top_level)` puts one record into `runs`."""

    def write(
        variant: str = "lora",
        lr: float = 2e-3,
        seed: int = 0,
        test: float = 0.9,
        validation: float | None = None,
        config: dict[str, Any] | None = None,
        **top_level: Any,
    ) -> Path:
        validation = test if validation is None else validation
        record = make_record(variant, lr, seed, test, validation, config or {}, **top_level)
        path = runs / record["id"] / "record.json"
        path.parent.mkdir()
        path.write_text(json.dumps(record))
        return path

    return write


@pytest.fixture(scope="session")
def change() -> Callable[..., None]:
    """`change(record, "training.loss", value)` writes another value at a dotted key."""

    def change(record: Path, key: str, value: Any) -> None:
        tree = json.loads(record.read_text())
        *groups, last = key.split(".")
        part = tree
        for group in groups:
            part = part[group]
        part[last] = value
        record.write_text(json.dumps(tree))

    return change


@pytest.fixture(scope="session")
def complete() -> Callable[..., Path]:
    """`complete(record, score, text)` puts 20 answers beside a record, of which the share `score` is right."""

    def complete(record: Path, score: float, text: str = "The answer is 4") -> Path:
        with gzip.open(record.parent / "completions.jsonl.gz", "wt", encoding="utf-8") as file:
            for i in range(20):
                row = {
                    "split": "test",
                    "set": "arithmetic",
                    "id": f"test/{i:02d}",
                    "prompt": f"Q: {i} + {i}?",
                    "gold": str(2 * i),
                }
                file.write(json.dumps(row | {"completion": text, "score": float(i < round(20 * score))}) + "\n")
        return record

    return complete


def make_record(
    variant: str, lr: float, seed: int, test: float, validation: float, config: dict[str, Any], **top_level: Any
) -> dict[str, Any]:
    """A record of schema 1; `config` overrides whole top-level config keys. One that diverged scores 0, one that failed nothing."""
    if top_level.get("status") == "diverged":
        test = validation = 0.0
    config = {
        "model": {"name": "tiny"},
        "task": {"name": "arithmetic"},
        "variant": {"name": variant, "alpha": 8},
        "lr": lr,
        "batch_size": 16,
        "rank": 8,
        "seed": seed,
        "train_samples": 2400,
        "epochs": 1,
        "trainer": {"warmup_ratio": 0.03, "betas": [0.9, 0.999]},
        "evaluator": {"name": "hf"},
    } | config

    fingerprint = "sha256:" + ("a" * 64 if config["model"]["name"] == "tiny" else digest(config["model"]["name"]) * 4)

    def scores(score: float) -> dict[str, Any]:
        return {"mean": score, "sets": {"arithmetic": {"score": score, "n": 200, "stderr": 0.0154}}}

    record = {
        "schema_version": 1,
        "id": "",
        "status": "complete",
        "config": config | {"output_dir": f"runs/of-seed-{seed}", "device": "cpu"},
        "identity": config
        | {
            "model": {"fingerprint": fingerprint, "dtype": config["model"].get("dtype", "auto")},
            "task": config["task"] | {"fingerprint": "sha256:" + "b" * 64},
            "evaluator": config["evaluator"]["name"],
        },
        "metrics": {"validation": scores(validation), "test": scores(test)},
        "base": {"test": 0.01, "validation": 0.0},
        "validation_metric": {"name": "arithmetic/validation", "value": validation},
        "training": {"steps": 150, "seconds": 4.2, "loss": [[1, 2.31], [2, 2.2]]},
        "evaluation": {"seconds": 1.1},
        "error": None,
        "data": {"fingerprint": "sha256:" + "b" * 64},
        "model": {"name": config["model"]["name"], "fingerprint": fingerprint, "weights": "pretrained"},
        "started": "2026-03-01T10:00:00+00:00",
        "finished": "2026-03-01T10:00:06+00:00",
    } | top_level
    if record["training"]:
        record["training"] = {"seconds": 4.2} | record["training"]
    if (metrics := record["metrics"]) and "validation_metric" not in top_level:
        record["validation_metric"]["value"] = (metrics.get("validation") or {}).get("mean")
    record["id"] = digest(record["identity"])
    return record


@pytest.fixture
def answered(write: WriteRecord) -> WriteRecord:
    """As `write`, with completions: `scores` are those of the test problems test/0, test/1, …; the record's mean is theirs."""

    def answered(variant: str, lr: float, seed: int, scores: list[float], **more: Any) -> Path:
        path = write(variant, lr, seed, sum(scores) / len(scores), **more)
        with gzip.open(path.parent / "completions.jsonl.gz", "wt", encoding="utf-8") as lines:
            for i, score in enumerate(scores):
                row = {"split": "test", "set": "arithmetic", "id": f"test/{i}", "prompt": f"Q{i}?", "gold": str(i)}
                lines.write(json.dumps(row | {"completion": f"{variant} {lr} says {i}", "score": score}) + "\n")
            lines.write(json.dumps({"split": "validation", "set": "arithmetic", "id": "validation/0", "score": 1.0}) + "\n")
        return path

    return answered


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Blocks of LoRA, MiLoRA and PiSSA on two matrices of seven layers; the ratios of PiSSA are 4, 5, … 10 and 14, 15, … 20."""
    folder = tmp_path / "records"
    folder.mkdir()
    for (start, matrix), layer in itertools.product([(14, "k_proj"), (4, "q_proj")], range(7)):
        write_block(folder, "pissa", matrix, layer, 0.1 * (start + layer), start + layer, converged=layer != 3)
        write_block(folder, "lora", matrix, layer, 0.1)
        write_block(folder, "milora", matrix, layer, -0.1 if layer == 2 else 0.2, None if layer == 2 else 2.0)
    return folder
