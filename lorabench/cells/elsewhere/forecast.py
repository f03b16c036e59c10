"""Hours, memory and disk of a grid on a device, from counted operations and bytes, and as finished cells correct them."""

import contextlib
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from lorabench.cells.answers import generated_splits
from lorabench.cells.cell import Cell
from lorabench.cells.elsewhere.hardware import Hardware, reported_as
from lorabench.errors import UserError
from lorabench.models.shapes import architecture_config, linear_shapes, weight_bytes
from lorabench.tasks.custom import Custom
from lorabench.variants.full import Full

EFFICIENCY = 0.35
"""Share of a device's matrix products that a training step reaches (ours, as in ``cells.plan``)."""

STREAMING = 0.5
"""Share of a device's memory bandwidth that a step of generation reaches (ours)."""

PROMPTS = 64
"""Prompts that are answered at once (ours); each step of theirs reads all weights once."""

HEAD_SHARE = 0.5
"""Share of a text's tokens at which the output head is applied, those that are learned (ours; GSM8K's is about that)."""

QUANTISED_BYTES = {"nf4": 0.5 + 4 / 64, "int8": 1.0}
"""Of a weight: nf4 has a float32 scale for each block of 64, int8 one for each row, which is next to nothing."""

CELL_DISK = 2e6
"""Bytes of a finished cell's record and completions (ours: measured on the embedded model and on GSM8K)."""

ASSUMED = (
    f"assumed: {EFFICIENCY:.0%} of its matrix products in training, {STREAMING:.0%} of its memory's bandwidth in generation, "
    f"{PROMPTS} prompts at once and all of max_new_tokens, the output head at {HEAD_SHARE:.0%} of the tokens"
)


def seconds(cell: Cell, tokens: int, device: Hardware) -> tuple[float, float]:
    """Of training, and of answering the validation and test problems.

    Training takes 4 operations a weight of the linear layers and token, 2 forward and 2 back to the activations, and 2 more for
    the gradients of weights that are trained themselves; gradient checkpointing goes forward once more. The output head counts
    for ``HEAD_SHARE`` of the tokens. Generation reads all weights once a token of ``PROMPTS`` answers.
    """
    linear = sum(math.prod(shape) for shape in linear_shapes(cell.model).values())
    config = architecture_config(cell.model).get_text_config()
    head = HEAD_SHARE * config.hidden_size * config.vocab_size
    per_token = 4 * (linear + head) + 2 * cell.variant.trainable_parameters(linear_shapes(cell.model))
    per_token += 2 * linear if cell.trainer.gradient_checkpointing else 0
    training = tokens * per_token / (EFFICIENCY * device.flops)
    problems = _problems(cell)
    weights = sum(_weights(cell).values())
    steps = math.ceil(problems / PROMPTS) * cell.task.max_new_tokens
    return training, steps * weights / (STREAMING * device.bandwidth)


def bytes_of(cell: Cell) -> dict[str, float]:
    """Of a device's memory, by what they hold in a training step.

    Activations of a block are counted as what its backward pass needs in the base's precision: 10 vectors of the hidden size
    and 4 of the inner one a token, in micro-batches of ``micro_batch_tokens``. With gradient checkpointing they are those of
    one block, and the inputs of the others. Logits are three float32 copies of half of these tokens.
    """
    config = architecture_config(cell.model).get_text_config()
    shapes = linear_shapes(cell.model)
    trained = cell.variant.trainable_parameters(shapes)
    tokens = max(cell.trainer.micro_batch_tokens, cell.trainer.max_length)
    hidden = config.hidden_size
    inner = getattr(config, "intermediate_size", None) or 4 * hidden
    width = _dtype(cell).itemsize
    block = (10 * hidden + 4 * inner) * width
    layers = config.num_hidden_layers
    of_blocks = block + (layers - 1) * hidden * width if cell.trainer.gradient_checkpointing else layers * block
    sizes = _weights(cell)
    own = sum(sizes[name] for name in cell.variant.touched(shapes) if name in sizes) if isinstance(cell.variant, Full) else 0
    return {
        "weights": sum(sizes.values()) - own,  # of full fine-tuning, float32 values stand in their place
        "trained values": 4 * trained,
        "gradients": 4 * trained,
        "optimizer": cell.variant.optimizer_bytes(shapes),
        "activations": tokens * of_blocks,
        "logits": 3 * 4 * tokens / 2 * config.vocab_size,
    }


def engine_bytes(cell: Cell) -> float:
    """Of a device's memory while answers are generated: weights, and keys and values of ``PROMPTS`` texts of full length."""
    config = architecture_config(cell.model).get_text_config()
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    length = cell.trainer.max_length + cell.task.max_new_tokens
    cache = PROMPTS * length * config.num_hidden_layers * 2 * heads * width * _dtype(cell).itemsize
    return sum(_weights(cell).values()) + cache


def disk(cells: Sequence[Cell]) -> float:
    """Bytes that the grid leaves, and of its largest checkpoint while it runs."""
    trained = [cell.variant.trainable_parameters(linear_shapes(cell.model)) for cell in cells]
    adapters = sum(4 * count * 2 for cell, count in zip(cells, trained, strict=True) if cell.settings.save_adapter)
    states = [cell.variant.optimizer_bytes(linear_shapes(cell.model)) for cell in cells]
    return len(cells) * CELL_DISK + adapters + max(4 * count + state for count, state in zip(trained, states, strict=True))


def correction(finished: Sequence[Mapping[str, Any]], expected: Mapping[str, tuple[float, float]]) -> float | None:
    """Median over finished cells of what they took over what was forecast for the device they ran on; None without such.

    Args:
        finished: records.
        expected: seconds of training and of answering on that record's own device, by id.
    """
    ratios = []
    for record in finished:
        if record["id"] in expected and record.get("training"):
            took = record["training"]["seconds"] + record["evaluation"]["seconds"]
            ratios.append(took / sum(expected[record["id"]]))
    return statistics.median(ratios) if ratios else None


def lines(
    todo: Sequence[Cell],
    tokens: Sequence[int | None],
    pairs: Sequence[tuple[Cell, Mapping[str, Any]]],
    device: Hardware,
) -> list[str]:
    """The forecast in words.

    Args:
        todo: cells that are still to run.
        tokens: of each one's training, where they are known.
        pairs: finished cells with their records.
        device: where the others would run.
    """
    largest = max(todo, key=lambda cell: sum(bytes_of(cell).values()))
    parts = bytes_of(largest)
    needs = sum(parts.values())
    fits = "fits" if needs < 0.9 * device.memory else "does not fit"
    held = ", ".join(f"{what} {size / 1e9:.3g}" for what, size in parts.items() if size >= 5e6)
    at_once = max(largest.trainer.micro_batch_tokens, largest.trainer.max_length)
    return [
        *_hours(todo, tokens, pairs, device),
        f"    memory of the largest cell: {needs / 1e9:.3g} GB of {device.memory / 1e9:.3g}, which {fits} ({held}; "
        f"micro-batches of {at_once} tokens); {engine_bytes(largest) / 1e9:.3g} GB while it answers",
        f"    disk: {disk(todo) / 1e9:.2g} GB",
    ]


def _hours(
    todo: Sequence[Cell], tokens: Sequence[int | None], pairs: Sequence[tuple[Cell, Mapping[str, Any]]], device: Hardware
) -> list[str]:
    """The lines on time, see ``lines``."""
    if any(count is None for count in tokens):
        return [f"  on {device.name}: hours are unknown until the data are at hand (task.typical_tokens states a length)"]
    total = sum(sum(seconds(cell, count or 0, device)) for cell, count in zip(todo, tokens, strict=True))
    expected = {
        record["id"]: seconds(cell, record["training"]["tokens"], own)
        for cell, record in pairs
        if record.get("training") and (own := reported_as(str(record["device"].get("name"))))
    }
    factor = correction([record for _, record in pairs], expected)
    corrected = f"; {duration(total * factor)} as {len(expected)} finished cells correct it (x {factor:.2g})" if factor else ""
    return [f"  on {device.name}: {duration(total)} in one process{corrected}", f"    {ASSUMED}"]


def duration(seconds: float) -> str:
    """In the unit that one would say.

    >>> duration(50), duration(7200), duration(86400 * 3)
    ('0.8 min', '2.0 h', '3.0 days')
    """
    if seconds > 48 * 3600:
        return f"{seconds / 86400:.1f} days"
    return f"{seconds / 3600:.1f} h" if seconds >= 360 else f"{seconds / 60:.1f} min"


def _dtype(cell: Cell) -> torch.dtype:
    """The base's precision on such a device, whose ``auto`` is bfloat16."""
    return torch.bfloat16 if cell.model.dtype == "auto" else getattr(torch, cell.model.dtype)


def _weights(cell: Cell) -> dict[str, float]:
    """Bytes of each weight, those of quantised layers in their bits."""
    sizes: dict[str, float] = dict(weight_bytes(cell.model, _dtype(cell)))
    if cell.model.quantization:
        each = QUANTISED_BYTES[cell.model.quantization]
        sizes |= {f"{name}.weight": each * math.prod(shape) for name, shape in linear_shapes(cell.model).items()}
    return sizes


def _problems(cell: Cell) -> int:
    """Those of validation and test that are answered, as far as the settings tell, or data of the user's own at hand."""
    task = cell.task
    if isinstance(task, Custom):
        with contextlib.suppress(UserError):
            return sum(map(len, generated_splits(task).values()))
    validated = (task.validation_samples or 0) if task.validation == "score" else 0
    return validated + ((task.test_size() or 0) if task.tested == "score" else 0)
