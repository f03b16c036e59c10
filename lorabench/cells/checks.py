"""What must hold before a cell is trained, each with one line that says what to do."""

import math
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from lorabench.annotations import text_of
from lorabench.cells.answers import generated_splits
from lorabench.cells.cell import Cell
from lorabench.cells.forecast import check_main_memory
from lorabench.cells.limited.duration import seconds
from lorabench.errors import UserError
from lorabench.files import digest
from lorabench.models import locate, quantised
from lorabench.models.base import stated_length
from lorabench.models.devices import resolve_device, resolve_dtype
from lorabench.models.load import check_checkpoint, tokenizer_and_length
from lorabench.models.shapes import architecture_config, decoder_layers, linear_shapes, skeleton
from lorabench.models.text import prompt_ids
from lorabench.records.holding import check_locks
from lorabench.records.names import GROUPS, check_names
from lorabench.tasks.prompts import naming


def check(cell: Cell, resources: bool = True) -> None:
    """Check everything in a cell that could not work. What cells of a grid have in common is checked once.

    Args:
        cell: to be trained.
        resources: whether weights and data must be at hand, too.

    Raises:
        UserError: the first thing that the user can mend.
    """
    cell.check_settings()
    checks = RESOURCES if resources else PLAN
    cell.once(("checks", resources), DECIDING, partial(_check_each, cell, checks))


def _check_each(cell: Cell, checks: "tuple[Check, ...]") -> None:
    for keys, each in checks:
        cell.once(each, keys, partial(each, cell))


def _check_rank(cell: Cell) -> None:
    c = cell.settings
    rank = c.variant.get("rank", c.rank)
    if type(rank) is not int or rank != c.rank:
        wanted = rank if type(rank) is int and rank > 0 else "8"
        raise UserError(
            f"variant.rank={text_of(rank)} is not rank={c.rank}, which it follows; leave it out and write rank={wanted}"
        )


def _check_positive(key: str, cell: Cell) -> None:
    if not 0 < cell.config[key] < math.inf:
        raise UserError(f"{key}={cell.config[key]} must be greater than 0 and finite")


def _check_samples(cell: Cell) -> None:
    c = cell.settings
    if c.train_samples is not None and c.train_samples < 1:
        raise UserError(f"train_samples={c.train_samples} must be at least 1, or null for all")
    if not 0 < c.train_fraction <= 1:
        raise UserError(f"train_fraction={c.train_fraction} must lie in (0, 1]")


def _check_words(cell: Cell) -> None:
    c = cell.settings
    if not c.output_dir.strip():
        raise UserError("output_dir is empty; give a folder")
    seconds(c.cell_timeout)
    if c.when_busy not in ("wait", "defer"):
        raise UserError(f"when_busy={c.when_busy} is unknown; available: wait, defer")


def _check_model(cell: Cell) -> None:
    check_names(cell.config, ["model"])  # before a folder is looked for that the name does not fit
    quantised.check(cell.model)
    locate.check(cell.model)  # first: which layers the variant adapts follows from it


def _check_part(name: str, cell: Cell) -> None:
    """Build it, so that its settings are checked before training."""
    getattr(cell, name)


def _check_name(group: str, cell: Cell) -> None:
    check_names(cell.config, [group])  # by the classes, which are known by now


def _check_tracker(cell: Cell) -> None:
    cell.session.tracker(cell.settings.tracker)


def _check_layers(cell: Cell) -> None:
    shapes = linear_shapes(cell.model)
    if cell.trainer.gradient_checkpointing:
        decoder_layers(skeleton(cell.model))
    cell.variant.check(shapes)


def _check_merging(cell: Cell) -> None:
    if not cell.mergeable and not cell.generator.serves_adapted:
        raise UserError(
            f"variant={cell.variant.name} cannot be merged into plain weights, all that this evaluator serves; use evaluator=hf"
        )


def _check_memory(cell: Cell) -> None:
    device = resolve_device(cell.settings.device)
    check_main_memory(cell, device.type, resolve_dtype(cell.model.dtype, device))


def _prepare_generator(cell: Cell) -> None:
    cell.generator.prepare()


def _prepare_tracker(cell: Cell) -> None:
    cell.session.tracker(cell.settings.tracker).prepare()


def _check_weights(cell: Cell) -> None:
    if cell.model.weights != "random":
        check_checkpoint(cell.model)


def _check_steps(cell: Cell) -> None:
    samples, available = cell.settings.train_samples, len(cell.task.train_examples())
    if samples is not None and samples > available:
        raise UserError(f"train_samples={samples} is more than the {available} that task={cell.task.name} has")
    used = max(1, round((samples or available) * cell.settings.train_fraction))
    cell.variant.check_steps(cell.settings.epochs * math.ceil(used / cell.settings.batch_size))


def _check_test_set(cell: Cell) -> None:
    if not cell.task.test_examples():
        raise UserError(f"task={cell.task.name} has no test problem")
    if cell.task.contamination:
        cell.session.note_once(cell.task.contamination)


def _check_prompts_once(cell: Cell) -> None:
    key = digest(["prompts", *(cell.identity[part] for part in ("model", "task", "evaluator"))])
    cell.session.kept(key, lambda: _check_prompts(cell))


def _check_trainer(cell: Cell) -> None:
    settings = cell.trainer
    for key in ("max_length", "max_grad_norm", "micro_batch_tokens"):
        if not getattr(settings, key) > 0:
            raise UserError(f"trainer.{key}={getattr(settings, key)} must be greater than 0")
    for key in ("warmup_ratio", "max_padding"):
        if not 0 <= getattr(settings, key) < 1:
            raise UserError(f"trainer.{key}={getattr(settings, key)} must lie in [0, 1)")
    for key in ("weight_decay", "eps", "checkpoint_minutes"):
        if not getattr(settings, key) >= 0:
            raise UserError(f"trainer.{key}={getattr(settings, key)} must not be negative")
    if len(settings.betas) != 2 or not all(0 <= beta < 1 for beta in settings.betas):
        raise UserError(f"trainer.betas={list(settings.betas)} must be two numbers in [0, 1)")


def _check_quantised(cell: Cell) -> None:
    """A quantised W cannot be read or changed in training."""
    if not cell.model.quantization:
        return
    given = f"model.quantization={cell.model.quantization}"
    quantised.check_layers(skeleton(cell.model), cell.model.name)
    if not cell.variant.starts_on_quantised:
        raise UserError(
            f"{given}: variant={cell.variant.name} reads or changes W, which it needs as floats; leave it out, or take "
            "a variant that does without (python -m lorabench.variants: quantised)"
        )
    if cell.probe.every is not None:
        raise UserError(f"{given}: second derivatives need plain floats; use probe=none")


def _check_length(cell: Cell) -> None:
    """A text is trained on within the positions that the model has; cutting it there unasked would be other training."""
    length, taken = cell.trainer.max_length, stated_length(architecture_config(cell.model))
    if taken is not None and length > taken:
        raise UserError(
            f"trainer.max_length={length} is more than the {taken} tokens that model={cell.model.name} takes; use "
            f"trainer.max_length={taken}"
        )


def _check_probe(resources: bool, cell: Cell) -> None:
    """``dtype: auto`` is decided by the device, which need not be at hand for a plan."""
    dtype = cell.model.dtype
    if resources and dtype == "auto":
        dtype = str(resolve_dtype(dtype, resolve_device(cell.settings.device))).removeprefix("torch.")
    cell.probe.check(cell.variant, list(linear_shapes(cell.model)), dtype)


def _check_prompts(cell: Cell) -> None:
    """Each prompt must leave room for an answer; a second turn's is taken without the first answer, which will stand in it."""
    examples = [example for members in generated_splits(cell.task).values() for example in members]
    prompts = [cell.task.evaluation_prompt(example) for example in examples]
    tokenizer, length = tokenizer_and_length(cell.model)
    with naming(examples):
        cell.generator.answer_limits(list(map(len, prompt_ids(tokenizer, prompts))), cell.task.max_new_tokens, length)


def check_output(folder: str) -> None:
    """Raise UserError unless records can be written to this folder, and locked."""
    if not folder.strip():
        raise UserError("output_dir is empty; give a folder")
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
        check_locks(Path(folder).absolute())
    except OSError as error:
        raise UserError(f"output_dir={folder} cannot be written ({error.strerror}); give another folder") from error


Check = tuple[tuple[str, ...], Callable[[Cell], None]]

SETTINGS: tuple[Check, ...] = (
    (("variant", "rank"), _check_rank),
    *(((key,), partial(_check_positive, key)) for key in ("lr", "batch_size", "rank", "epochs")),
    (("train_samples", "train_fraction"), _check_samples),
    (("output_dir", "when_busy", "cell_timeout"), _check_words),
    (("model",), _check_model),
    (("subset",), partial(_check_part, "subset")),
    (("task",), partial(_check_part, "task")),
    (("evaluator",), partial(_check_part, "generator")),
    (("probe",), partial(_check_part, "probe")),
    (("variant", "model"), partial(_check_part, "variant")),
    *(((group,), partial(_check_name, group)) for group in GROUPS),
    (("tracker",), _check_tracker),
    (("trainer",), _check_trainer),
    (("model", "trainer", "variant"), _check_layers),
    (("model", "variant", "probe"), _check_quantised),
    (("model", "variant", "evaluator"), _check_merging),
    (("trainer", "model"), _check_length),
)
"""What must hold, and the keys of the config that decide whether it does: cells with the same values of them are one case."""

PLAN: tuple[Check, ...] = (*SETTINGS, (("model", "variant", "probe"), partial(_check_probe, False)))

RESOURCES: tuple[Check, ...] = (
    *SETTINGS,
    (("model", "variant", "probe", "device"), partial(_check_probe, True)),
    (("model", "variant", "evaluator", "device"), _check_memory),
    (("evaluator",), _prepare_generator),
    (("tracker",), _prepare_tracker),
    (("model",), _check_weights),
    (("variant", "model", "task", "train_samples", "train_fraction", "epochs", "batch_size"), _check_steps),
    (("task",), _check_test_set),
    (("model", "task", "evaluator"), _check_prompts_once),
)
"""The same with weights and data at hand."""

DECIDING = tuple(dict.fromkeys(key for keys, _ in RESOURCES for key in keys))
"""All keys that these checks look at."""
