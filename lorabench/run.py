"""One cell from config to record: train, evaluate, write."""

import time
import traceback
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lorabench import memory, models, probe, records, seed
from lorabench.calibration import Calibration
from lorabench.cell import Cell, check_output, close_generators
from lorabench.checkpoint import Checkpoint, fingerprint, save_trained
from lorabench.data import Corpus, Encoded, batches, subset
from lorabench.errors import UserError
from lorabench.evaluate import SPLITS, Row, answer, generated_splits, read_completions, score, write_completions, zero
from lorabench.models import Base
from lorabench.progress import PROGRESS
from lorabench.trackers.following import Following, following
from lorabench.train import Training, mean_loss, train

_CORPORA: dict[tuple[str, str, int], dict[str, Corpus]] = {}


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
            with following(cell) as follower:
                record, fresh = _finish(cell, follower), True
    PROGRESS.cell_done(cell, record, fresh)
    if cell.config["save_adapter"] and not fresh and not (cell.folder / "adapter").exists():
        PROGRESS.note(
            f"{cell.folder} was finished without save_adapter; delete it to train the cell again and keep its adapter"
        )
    if cell.config["hessian"]["every"] is not None and not fresh and record["config"].get("hessian") != cell.config["hessian"]:
        PROGRESS.note(f"{cell.folder} was finished with other hessian settings; delete it to train the cell again with these")
    if record["status"] == "failed":
        raise RuntimeError(record["error"])
    return record["validation_metric"]["value"]


def _finish(cell: Cell, follower: Following) -> dict[str, Any]:
    """Train and evaluate a cell and write its record, also when it fails.

    ``pending.json`` holds what is known between generation and scoring: a cell whose scorer stopped (a judge that is down,
    say) goes on from its completions, with the present settings of its scorer (another ``task.judge_url``, say).
    """
    file, pending, completions = (cell.folder / name for name in ("record.json", "pending.json", "completions.jsonl.gz"))
    checkpoint = Checkpoint(cell.folder / "checkpoint.pt", cell.trainer.checkpoint_minutes)
    record, rows = records.read(pending), read_completions(completions)
    try:
        if record is None or rows is None:
            record = _new_record(cell)
            rows = _work(cell, record, checkpoint, follower)
            if rows is not None:
                write_completions(completions, rows)
                records.write(pending, record)
        else:
            record |= {"config": record["config"] | {"task": cell.config["task"]}, "rescored": records.scored_now()}
        if rows is not None:
            try:
                score_cell(cell, record, rows)
            except UserError as error:
                command = f"python -m lorabench.evaluate rescore {cell.folder}"
                raise UserError(f"{error}; `{command}` scores this cell's completions without training") from error
            write_completions(completions, rows)
    except Exception as error:
        _drop_model(error)
        if not isinstance(error, UserError):
            record = record or _new_record(cell)
            record |= {"status": "failed", "metrics": None}
            record["error"] = f"{type(error).__name__}: {error}".splitlines()[0]
            record["traceback"] = traceback.format_exc()
            _write(file, record)
            follower.finish(record)
        raise
    _write(file, record)
    checkpoint.remove()
    pending.unlink(missing_ok=True)
    follower.finish(record)
    return record


def score_cell(cell: Cell, record: dict[str, Any], rows: list[Row]) -> None:
    """Score the completions of a cell into ``rows`` and its record."""
    started = time.perf_counter()
    record["metrics"] = score(cell.task, rows, record["validation_loss"], cell.splits)
    record["evaluation"]["scoring_seconds"] = round(time.perf_counter() - started, 3)
    record["validation_metric"] = validation_metric(cell, record["metrics"])
    record["status"] = "complete"


def validation_metric(cell: Cell, metrics: dict[str, Any]) -> dict[str, Any]:
    """Name and value of what a search maximises and a reader selects by."""
    kind = "validation" if cell.task.validation == "score" else "validation_likelihood"
    return {"name": f"{cell.task.name}/{kind}", "value": metrics["validation"]["mean"]}


def _new_record(cell: Cell) -> dict[str, Any]:
    return {
        "schema_version": records.SCHEMA_VERSION,
        "id": cell.id,
        "status": "failed",
        "config": cell.recorded_config,
        "identity": cell.identity,
        "metrics": None,
        "error": None,
        "versions": records.versions(),
        "git": records.git_state(),
        "data": {"fingerprint": cell.task.fingerprint()},
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _drop_model(error: Exception) -> None:
    """Let go of the loaded model, which a failure may have left half changed, and of everything that still holds it."""
    models.forget()
    close_generators()
    traceback.clear_frames(error.__traceback__)


def _write(file: Path, record: dict[str, Any]) -> None:
    record["finished"] = datetime.now(UTC).isoformat(timespec="seconds")
    records.write(file, record)


def _work(cell: Cell, record: dict[str, Any], checkpoint: Checkpoint, follower: Following) -> list[Row] | None:
    """Train, and generate unless the run diverged; the record gets everything but the scores."""
    base = cell.base()
    record["model"] = records.model_state(cell.model, models.fingerprint(cell.model))
    record["device"] = records.device_state(base.device, base.model.dtype)
    record["base"] = _baseline(cell, base)
    memory.reset_peak(base.device)
    done, trainable, merged, loss = _train(cell, base, checkpoint, follower)
    record["training"] = {
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
    }
    record["validation_loss"] = loss
    if cell.config["hessian"]["every"] is not None:
        record["sharpness"] = probe.rows(cell.folder / "sharpness.jsonl")
    if done.diverged:
        metrics = zero(cell.task, cell.splits)
        record |= {"status": "diverged", "metrics": metrics, "evaluation": {"seconds": 0.0}}
        record["validation_metric"] = validation_metric(cell, metrics)
        return None
    rows, extra, seconds = _answer(cell, base, merged, cell.splits)
    record |= extra | {"evaluation": {"seconds": seconds}}
    return rows


def _train(cell: Cell, base: Base, checkpoint: Checkpoint, follower: Following) -> tuple[Training, int, Any, float | None]:
    """Attach, train, merge; the base has its own weights again afterwards.

    Returns:
        What the training did, the number of trainable parameters, the merged weights, the validation loss (the last two
        None for a diverged run).
    """
    c, variant = cell.config, cell.variant
    corpus = _corpus(cell, base, "train")
    chosen = subset(len(corpus), c["train_samples"], seed.generator(c["seed"], "subset"))
    draws = seed.generator(c["seed"], "part")
    chosen = cell.subset.part(cell.fraction, base, corpus, chosen, _corpus(cell, base, "validation"), draws)
    if not any(example.target_tokens for example in corpus.encode(chosen)):
        raise UserError(f"trainer.max_length={cell.trainer.max_length} leaves no target token in any training example")
    schedule = batches(chosen, c["batch_size"], c["epochs"], seed.generator(c["seed"], "order"))
    base.remember([f"{name}.weight" for name in variant.targets(models.linear_shapes(cell.model))])
    with seed.deterministic():
        adapted = variant.attach(base.model, seed.generator(c["seed"], "init"), Calibration(corpus, chosen, cell.trainer))
    trainable = sum(p.numel() for p in adapted.parameters() if p.requires_grad)
    with PROGRESS.cell(cell, len(schedule)) as on_step, seed.deterministic():
        on_step = follower.on_step(on_step)
        if c["hessian"]["every"] is not None:
            on_step = _watched(cell, base, adapted, corpus.encode(chosen), on_step)
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
        loss = None if done.diverged else _validation_loss(cell, base, adapted)
    # Off the GPU: they live until the cell is evaluated, and an engine needs its memory.
    merged = None if done.diverged else {name: weight.cpu() for name, weight in variant.merged(adapted).items()}
    if c["save_adapter"] and not done.diverged:
        variant.save(adapted, cell.folder / "adapter")
        save_trained(adapted, cell.folder / "trained.safetensors")
    variant.detach(adapted)
    base.restore()
    return done, trainable, merged, loss


def _watched(cell: Cell, base: Base, adapted: Any, examples: list[Encoded], on_step: probe.OnStep) -> probe.OnStep:
    """``on_step``, then the probe of ``hessian.every``."""
    if len(examples) < cell.probe.samples:
        PROGRESS.note(f"hessian.samples={cell.probe.samples}: the cell has {len(examples)} training samples, all are used")
    arguments = adapted, examples[: cell.probe.samples], base.tokenizer.pad_token_id, cell.trainer, cell.config["seed"]
    start = fingerprint({name: p for name, p in adapted.named_parameters() if p.requires_grad})
    # A row is what it is at its step, however many others there are and however much memory was at hand.
    settings = {key: value for key, value in cell.config["hessian"].items() if key not in ("every", "memory_gb")}
    key, file = records.digest([settings, start]), cell.folder / "sharpness.jsonl"
    return probe.Watch(cell.probe.every, file, key, lambda: cell.probe.measure(*arguments), on_step)


def _validation_loss(cell: Cell, base: Base, model: Any) -> float:
    corpus = _corpus(cell, base, "validation")
    return mean_loss(model, corpus.encode(range(len(corpus))), cell.trainer, base.tokenizer.pad_token_id)


def _corpus(cell: Cell, base: Base, split: str) -> Corpus:
    """The tokenised texts of the training or validation split, shared by the cells of one process."""
    key = (records.digest(cell.identity["task"]), base.tokenizer.name_or_path, cell.trainer.max_length)
    if key not in _CORPORA:
        _CORPORA.clear()
        splits = {"train": cell.task.train_examples(), "validation": cell.task.validation_examples()}
        texts = {name: [(cell.task.prompt(e), cell.task.target(e)) for e in examples] for name, examples in splits.items()}
        _CORPORA[key] = {name: Corpus(pairs, base.tokenizer, cell.trainer.max_length) for name, pairs in texts.items()}
    return _CORPORA[key][split]


def _answer(
    cell: Cell, base: Base, merged: Any, splits: Sequence[str] = SPLITS, rows: list[Row] | None = None
) -> tuple[list[Row], dict[str, Any], float]:
    """Completions of the base with these weights (unless ``rows`` are they), the generator's own results, and the seconds.

    What the generator measures besides belongs to the test, and is left out without that split.
    """
    started = time.perf_counter()
    if not generated_splits(cell.task, splits):
        return [], {}, 0.0
    cell.generator.load(base)
    cell.generator.use(merged)
    try:
        rows = answer(cell.task, cell.generator, splits) if rows is None else rows
        extra = cell.generator.extra_results() if "test" in splits else {}
    finally:
        cell.generator.use(None)
    return rows, extra, round(time.perf_counter() - started, 3)


def _baseline(cell: Cell, base: Base) -> dict[str, Any]:
    """Scores of the untouched base on the same splits, measured once for an output folder."""
    file = base_file(cell.config["output_dir"], cell.identity)
    file.parent.mkdir(exist_ok=True)
    completions = file.with_suffix(".completions.jsonl.gz")
    with records.lock(file.with_suffix(".lock"), wait=True):
        found = records.read(file)
        if found is None:
            PROGRESS.note(f"evaluating the untouched {cell.model.name} on {cell.task.name}")
            rows, extra, seconds = _answer(cell, base, None, rows=read_completions(completions))
            write_completions(completions, rows)  # before scoring, which may stop
            loss = _validation_loss(cell, base, base.model)
            found = {"metrics": score(cell.task, rows, loss), "validation_loss": loss, "seconds": seconds}
            found |= {"model": cell.model.name, "task": cell.task.name, "extra": extra}
            found |= {"versions": records.versions(), "git": records.git_state()}
            write_completions(completions, rows)
            records.write(file, found)
    return base_scores(found)


def base_file(output_dir: str | Path, identity: dict[str, Any]) -> Path:
    """Where an output folder keeps what is known of the untouched base of cells of this identity."""
    parts = [identity["model"], identity["task"], identity["evaluator"], identity["trainer"]["max_length"]]
    return Path(output_dir) / "base" / f"{records.digest(parts)}.json"


def base_scores(found: dict[str, Any]) -> dict[str, Any]:
    """What a cell's record says of the base: the means of the splits, and what its generator measured besides."""
    return {split: scores["mean"] for split, scores in found["metrics"].items()} | found.get("extra", {})
