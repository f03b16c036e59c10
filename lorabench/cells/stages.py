"""The stages of a cell, data → trained → answered, each with what it hands on."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from lorabench.cells.answers import SPLITS, Row, answer, generated_splits
from lorabench.cells.cell import Cell
from lorabench.cells.changes import Changes, bit_sums, check_merged
from lorabench.cells.scores import split_losses
from lorabench.errors import UserError
from lorabench.files import digest, sync
from lorabench.generation.base import Generator
from lorabench.hooks import fault
from lorabench.models.base import Base
from lorabench.models.shapes import linear_shapes
from lorabench.probes import watch
from lorabench.records.identity import part_identity
from lorabench.terminal.bars import note, training_bar
from lorabench.trackers.following import Following
from lorabench.training import memory, seed
from lorabench.training.calibration import Calibration
from lorabench.training.checkpoint import Checkpoint, fingerprint, save_trained
from lorabench.training.data import Corpora, batches
from lorabench.training.dropout import base_rates
from lorabench.training.loop import OnStep, Training, train
from lorabench.variants.adapter import Adapter
from lorabench.variants.base import Adapted, save_merged


@dataclass(frozen=True)
class Data:
    """What a cell is trained on.

    Attributes:
        corpora: the tokenised texts.
        samples: places of the cell's samples in the training texts, in the order in which they were drawn.
        batches: of all epochs, places in the training texts.
    """

    corpora: Corpora
    samples: list[int]
    batches: list[list[int]]


@dataclass(frozen=True)
class Trained:
    """What training made of the base.

    Attributes:
        training: what the run did.
        parameters: number of values that were trained.
        weights: SHA-256 of them.
        peak_memory: bytes.
        merged: plain weights in main memory by their names in the base; None of a diverged run, or where ``adapted`` is needed.
        adapted: the base with the variant still attached, of one that no plain weights hold, until ``release`` is called.
        release: takes it out of the base; None where that is done.
        losses: see ``split_losses``; of a diverged run ``validation_loss`` alone, None.
        probed: what the probe measured; None without one.
    """

    training: Training
    parameters: int
    weights: str
    peak_memory: int
    merged: dict[str, torch.Tensor] | None
    losses: dict[str, float | None]
    probed: list[dict[str, Any]] | None
    adapted: Adapted | None = None
    release: Callable[[], None] | None = None

    def entries(self) -> dict[str, Any]:
        """Its part of the record."""
        t = self.training
        entries: dict[str, Any] = {
            "training": {
                "steps": t.steps,
                "tokens": t.tokens,
                "target_tokens": t.target_tokens,
                "padding_tokens": t.padding_tokens,
                "seconds": round(t.seconds, 3),
                "tokens_per_second": round(t.tokens / t.seconds, 1) if t.seconds else None,
                "peak_memory_bytes": self.peak_memory,
                "trainable_parameters": self.parameters,
                "weights_sha256": self.weights,
                "optimizer": t.optimizer,
                "groups": t.groups,
                "loss": [[step, loss] for step, loss in enumerate(t.loss, 1)],
                "grad_norm": [[step, norm] for step, norm in enumerate(t.grad_norm, 1)],
                "lr": [[step, rates] for step, rates in enumerate(t.lr, 1)],
            },
            **self.losses,
        }
        return entries if self.probed is None else entries | {"sharpness": self.probed}


@dataclass(frozen=True)
class Answered:
    """What the model answered.

    Attributes:
        rows: a completion each, not yet scored.
        extra: what the generator measured besides.
        seconds: wall time of it all.
    """

    rows: list[Row]
    extra: dict[str, Any]
    seconds: float


def prepare_data(cell: Cell, base: Base) -> Data:
    """Choose the cell's samples and put them into batches.

    Raises:
        UserError: no example has a target token within ``trainer.max_length``.
    """
    c, corpora = cell.settings, cell.corpora(base)
    samples = cell.subset.samples(len(corpora.train), c.train_samples, seed.generator(cell.data_seed, "subset"))
    draws = seed.generator(cell.data_seed, "part")
    wanted = len(corpora.train) if c.train_samples is None else c.train_samples
    if len(samples) != wanted or len(set(samples)) < wanted or not set(samples) <= set(range(len(corpora.train))):
        text = f"must return {wanted} different numbers in 0 … {len(corpora.train) - 1}, and did not"
        raise fault(cell.subset, "samples", text)
    chosen, samples = samples, cell.subset.part(c.train_fraction, base, corpora.train, samples, corpora.validation, draws)
    if not samples or len(set(samples)) < len(samples) or not set(samples) <= set(chosen):
        raise fault(cell.subset, "order", "must return the samples that it is given, each once, and did not")
    if not any(example.target_tokens for example in corpora.train.encode(samples)):
        raise UserError(f"trainer.max_length={cell.trainer.max_length} leaves no target token in any training example")
    return Data(corpora, samples, batches(samples, c.batch_size, c.epochs, seed.generator(cell.data_seed, "order")))


def train_cell(cell: Cell, base: Base, data: Data, checkpoint: Checkpoint, follower: Following) -> Trained:
    """Attach, train, merge; the base has its own weights again afterwards."""
    c, variant, corpus = cell.settings, cell.variant, data.corpora.train
    memory.reset_peak(base.device)
    if rates := base_rates(base.model.config):
        stated = ", ".join(f"{key}={rate:g}" for key, rate in rates.items())
        cell.session.note_once(f"{cell.model.name}: the base's own dropout ({stated}) is off; variant.dropout is the only one")
    declared = [] if cell.model.quantization else variant.touched(linear_shapes(cell.model))
    base.remember(declared)
    before = bit_sums(dict(base.model.named_parameters()))
    with torch.random.fork_rng():
        torch.manual_seed(seed.stream_seed(c.seed, "init"))  # for what a method draws without the generator
        calibration = Calibration(corpus, data.samples, cell.trainer)
        adapted = variant.attach(base.model, seed.generator(c.seed, "init"), calibration)
    trained = variant.train_only(adapted)
    changes = Changes(variant, adapted, declared, before)
    with training_bar(str(cell), len(data.batches)) as draw:
        training = train(
            adapted,
            variant,
            corpus,
            data.batches,
            lr=c.lr,
            settings=cell.trainer,
            dropout_seed=seed.stream_seed(c.seed, "dropout"),
            base=changes.declared,
            checkpoint=checkpoint,
            on_step=_probed(cell, base, adapted, data, follower.on_step(draw)),
        )
        losses: dict[str, float | None] = {}
        if not training.diverged:
            losses = split_losses(cell, base, adapted, cell.splits, cell.trainer)
        losses.setdefault("validation_loss", None)
    # Off the GPU: they live until the cell is evaluated, and an engine needs its memory.
    merged = None if training.diverged else _kept(cell, base, adapted, changes, trained)
    parameters, weights = sum(p.numel() for p in trained.values()), fingerprint(trained)
    release = partial(_release, cell, base, adapted, before)
    answers_itself = merged is None and not training.diverged
    if not answers_itself:
        release()
    probed = None if cell.probe.every is None else watch.rows(_probe_file(cell))
    later = (adapted, release) if answers_itself else ()
    return Trained(training, parameters, weights, memory.peak(base.device), merged, losses, probed, *later)


def _release(cell: Cell, base: Base, adapted: Adapted, before: Mapping[str, int]) -> None:
    """Take the variant out of the base, which has its own weights again afterwards."""
    variant = cell.variant
    variant.detach(adapted)
    if dict(base.model.named_parameters()).keys() != before.keys():
        raise fault(variant, "detach", "left layers of its own in the base, which the next cell would train and score")
    base.restore()
    if bit_sums(dict(base.model.named_parameters())) != before:
        raise fault(
            variant, "detach", "left weights of the base changed that its touched() does not name; so may merged() or save()"
        )


def _kept(
    cell: Cell, base: Base, adapted: Adapted, changes: Changes, trained: dict[str, torch.nn.Parameter]
) -> dict[str, torch.Tensor] | None:
    """The merged weights in main memory, if there are such; with ``save_adapter`` the cell's folder gets adapter or weights."""
    outside = changes.outside_adapters()
    outside_and_adapted = outside | (cell.variant.merged(adapted) if cell.mergeable else {})
    if cell.mergeable:
        check_merged(cell.variant, outside_and_adapted, changes)
    # One by one, so that on a CPU there are not two of each: what is copied may be the model's own, which is restored.
    merged = {name: outside_and_adapted.pop(name).detach().to("cpu", copy=True) for name in list(outside_and_adapted)}
    if cell.settings.save_adapter:
        folder = cell.folder / "adapter"
        if outside and isinstance(cell.variant, Adapter):
            save_merged(merged, folder, f"variant={cell.variant.name} changes {next(iter(outside))} of the base")
        else:
            cell.variant.save(adapted, folder)
            if not isinstance(cell.variant, Adapter):  # a checkpoint of its own
                base.tokenizer.save_pretrained(folder)
        sync(folder)  # before the record that says it is there
        save_trained(trained, cell.folder / "trained.safetensors")
    return merged if cell.mergeable else None


def _probe_file(cell: Cell) -> Path:
    return cell.folder / "sharpness.jsonl"


def _probed(cell: Cell, base: Base, adapted: Any, data: Data, on_step: OnStep) -> OnStep:
    """``on_step``, then the cell's probe."""
    if cell.probe.every is None:
        return on_step
    samples = data.samples[: cell.probe.samples]
    if len(samples) < cell.probe.samples:
        note(f"probe.samples={cell.probe.samples}: the cell has {len(samples)} training samples, all are used")
    examples = data.corpora.train.encode(samples)
    arguments = adapted, cell.variant, examples, base.tokenizer.pad_token_id, cell.trainer, cell.settings.seed
    # A row is what it is at its step, however many others there are and however much memory was at hand.
    key = digest([part_identity(cell.settings.probe), fingerprint(cell.variant.trained(adapted))])

    def measure() -> list[dict[str, Any]]:
        """What a probe leaves behind must not reach the result: random numbers, mode, and what is trained."""
        modes = [(module, module.training) for module in adapted.modules()]
        wanted = [p.requires_grad for p in adapted.parameters()]
        try:
            with torch.random.fork_rng():
                return cell.probe.measure(*arguments)
        finally:
            for module, mode in modes:
                module.training = mode
            for p, wants in zip(adapted.parameters(), wanted, strict=True):
                p.requires_grad_(wants)

    return watch.Watch(cell.probe.every, _probe_file(cell), key, measure, on_step)


def answer_cell(
    cell: Cell,
    base: Base,
    merged: Any,
    splits: Sequence[str] = SPLITS,
    rows: list[Row] | None = None,
    adapted: Adapted | None = None,
) -> Answered:
    """Completions of the base with these weights, or of ``adapted``, unless ``rows`` are they.

    What the generator measures besides belongs to the test, and is left out without that split.
    """
    started = time.perf_counter()
    measures = type(cell.generator).extra_results is not Generator.extra_results and "test" in splits
    if not generated_splits(cell.task, splits) and not measures:
        return Answered([], {}, 0.0)
    cell.generator.load(base)
    if adapted is None:
        cell.generator.use(merged)
    else:
        cell.generator.use_adapted(adapted)
    try:
        rows = answer(cell.task, cell.generator, splits) if rows is None else rows
        extra = cell.generator.extra_results() if "test" in splits else {}
    finally:
        if adapted is None:
            cell.generator.use(None)
        else:
            cell.generator.use_adapted(None)
    return Answered(rows, extra, round(time.perf_counter() - started, 3))
