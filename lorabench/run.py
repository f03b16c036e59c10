"""One cell from config to record: train, evaluate, write."""

import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lorabench import memory, models, records, seed
from lorabench.calibration import Calibration
from lorabench.cell import Cell, check_output, forget_generators
from lorabench.checkpoint import Checkpoint
from lorabench.data import Corpus, batches, subset
from lorabench.errors import UserError
from lorabench.evaluate import evaluate, write_completions, zero
from lorabench.models import Base
from lorabench.progress import PROGRESS
from lorabench.schema import Config, controls
from lorabench.train import Training, train

_CORPORA: dict[tuple[str, str, int], Corpus] = {}


class Busy(Exception):
    """Another process is training this cell; a sweep comes back to it (``retry_later``)."""

    retry_later = True


def run(cell: Cell) -> float:
    """Return the validation score of a cell, trained unless its record is there.

    Raises:
        UserError: something that the user can mend.
        Busy: another process holds the cell and ``when_busy`` is ``defer``.
    """
    check_output(cell.config["output_dir"])
    cell.check()
    cell.folder.mkdir(exist_ok=True)
    with records.lock(cell.folder / "lock", wait=cell.config["when_busy"] == "wait") as held:
        if not held:
            raise Busy(f"{cell} is being trained by another process")
        record, fresh = cell.record(), False
        if record is None:
            record, fresh = _finish(cell), True
    PROGRESS.cell_done(cell, record, fresh)
    if record["status"] == "failed":
        raise RuntimeError(record["error"])
    return record["validation_metric"]["value"]


def _finish(cell: Cell) -> dict[str, Any]:
    """Train and evaluate a cell and write its record, also when it fails."""
    started, file = datetime.now(UTC), cell.folder / "record.json"
    record: dict[str, Any] = {
        "schema_version": records.SCHEMA_VERSION,
        "id": cell.id,
        "status": "failed",
        "config": {key: value for key, value in cell.config.items() if key not in controls(Config)},
        "identity": cell.identity,
        "metrics": None,
        "error": None,
        "versions": records.versions(),
        "git": records.git_state(),
        "data": {"fingerprint": cell.task.fingerprint()},
        "started": started.isoformat(timespec="seconds"),
    }
    try:
        device = models.resolve_device(cell.config["device"])
        base = models.load(cell.model, device)
        record["model"] = records.model_state(cell.model, models.fingerprint(cell.model))
        record["device"] = records.device_state(device, base.model.dtype)
        checkpoint = Checkpoint(cell.folder / "checkpoint.pt", cell.trainer.checkpoint_minutes)
        record.update(_work(cell, base, checkpoint))
    except Exception as error:
        _drop_model(error)
        if not isinstance(error, UserError):
            record["error"] = f"{type(error).__name__}: {error}".splitlines()[0]
            record["traceback"] = traceback.format_exc()
            _write(file, record)
        raise
    _write(file, record)
    checkpoint.remove()
    return record


def _drop_model(error: Exception) -> None:
    """Let go of the loaded model, which a failure may have left half changed, and of everything that still holds it."""
    models.forget()
    forget_generators()
    traceback.clear_frames(error.__traceback__)


def _write(file: Path, record: dict[str, Any]) -> None:
    record["finished"] = datetime.now(UTC).isoformat(timespec="seconds")
    records.write(file, record)


def _work(cell: Cell, base: Base, checkpoint: Checkpoint) -> dict[str, Any]:
    """The parts of the record that come from training and evaluation."""
    before = _baseline(cell, base)
    memory.reset_peak(base.device)
    done, trainable, merged = _train(cell, base, checkpoint)
    result: dict[str, Any] = {
        "base": before,
        "training": {
            "steps": done.steps,
            "tokens": done.tokens,
            "target_tokens": done.target_tokens,
            "padding_tokens": done.padding_tokens,
            "seconds": round(done.seconds, 3),
            "tokens_per_second": round(done.tokens / done.seconds, 1) if done.seconds else None,
            "peak_memory_bytes": memory.peak(base.device),
            "trainable_parameters": trainable,
            "loss": [[step, loss] for step, loss in enumerate(done.loss, 1)],
            "grad_norm": [[step, norm] for step, norm in enumerate(done.grad_norm, 1)],
        },
    }
    if done.diverged:
        result |= {"status": "diverged", "metrics": zero(cell.task), "evaluation": {"seconds": 0.0}}
    else:
        metrics, seconds = _score(cell, base, merged, cell.folder / "completions.jsonl.gz")
        result |= {"status": "complete", "metrics": metrics, "evaluation": {"seconds": seconds}}
    name = f"{cell.task.name}/validation"
    return result | {"validation_metric": {"name": name, "value": result["metrics"]["validation"]["mean"]}}


def _train(cell: Cell, base: Base, checkpoint: Checkpoint) -> tuple[Training, int, Any]:
    """Attach, train, merge; the base has its own weights again afterwards."""
    c, variant = cell.config, cell.variant
    corpus = _corpus(cell, base)
    chosen = subset(len(corpus), c["train_samples"], seed.generator(c["seed"], "subset"))
    if not any(example.target_tokens for example in corpus.encode(chosen)):
        raise UserError(f"trainer.max_length={cell.trainer.max_length} leaves no target token in any training example")
    schedule = batches(chosen, c["batch_size"], c["epochs"], seed.generator(c["seed"], "order"))
    base.remember([f"{name}.weight" for name in variant.targets(models.linear_shapes(cell.model))])
    adapted = variant.attach(base.model, seed.generator(c["seed"], "init"), Calibration(corpus, chosen, cell.trainer))
    trainable = sum(p.numel() for p in adapted.parameters() if p.requires_grad)
    with PROGRESS.cell(cell, len(schedule)) as on_step, seed.deterministic():
        done = train(
            adapted,
            variant,
            corpus,
            schedule,
            lr=c["lr"],
            settings=cell.trainer,
            dropout_seed=seed.stream_seed(c["seed"], "dropout"),
            checkpoint=checkpoint,
            on_step=on_step,
        )
    merged = None if done.diverged else variant.merged(adapted)
    variant.detach(adapted)
    base.restore()
    return done, trainable, merged


def _corpus(cell: Cell, base: Base) -> Corpus:
    """The tokenised training texts, shared by the cells of one process."""
    key = (records.digest(cell.identity["task"]), base.tokenizer.name_or_path, cell.trainer.max_length)
    if key not in _CORPORA:
        _CORPORA.clear()
        texts = [(cell.task.prompt(e), cell.task.target(e)) for e in cell.task.train_examples()]
        _CORPORA[key] = Corpus(texts, base.tokenizer, cell.trainer.max_length)
    return _CORPORA[key]


def _score(cell: Cell, base: Base, merged: Any, completions: Path) -> tuple[dict[str, Any], float]:
    started = time.perf_counter()
    cell.generator.load(base)
    cell.generator.use(merged)
    try:
        metrics, rows = evaluate(cell.task, cell.generator)
    finally:
        cell.generator.use(None)
    write_completions(completions, rows)
    return metrics, round(time.perf_counter() - started, 3)


def _baseline(cell: Cell, base: Base) -> dict[str, float]:
    """Scores of the untouched base on the same splits, measured once for an output folder."""
    identity: Callable[[str], Any] = cell.identity.__getitem__
    folder = Path(cell.config["output_dir"]) / "base"
    folder.mkdir(exist_ok=True)
    name = records.digest([identity("model"), identity("task"), identity("evaluator")])
    with records.lock(folder / f"{name}.lock", wait=True):
        found = records.read(folder / f"{name}.json")
        if found is None:
            PROGRESS.note(f"evaluating the untouched {cell.model.name} on {cell.task.name}")
            metrics, seconds = _score(cell, base, None, folder / f"{name}.completions.jsonl.gz")
            found = {"metrics": metrics, "seconds": seconds, "model": cell.model.name, "task": cell.task.name}
            records.write(folder / f"{name}.json", found)
    return {split: scores["mean"] for split, scores in found["metrics"].items()}
