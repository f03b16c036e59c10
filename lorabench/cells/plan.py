"""Before a sweep: check every cell, and say what would run."""

import contextlib
import gc
import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, partial
from typing import Any

import torch
from omegaconf import DictConfig

from lorabench.cells.cell import Cell
from lorabench.cells.checks import check, check_output
from lorabench.cells.elsewhere import forecast as elsewhere
from lorabench.cells.elsewhere.hardware import hardware
from lorabench.cells.forecast import as_text, main_memory
from lorabench.cells.run import finished_before
from lorabench.cells.session import base_key, current
from lorabench.errors import UserError
from lorabench.models.devices import resolve_device, resolve_dtype
from lorabench.models.shapes import linear_shapes
from lorabench.records.shared import Shared
from lorabench.terminal.bars import note
from lorabench.terminal.formats import format_lr
from lorabench.training import memory

Config = DictConfig | dict[str, Any]

AXES = (
    "model",
    "task",
    "variant",
    "lr",
    "batch_size",
    "rank",
    "seed",
    "data_seed",
    "train_samples",
    "train_fraction",
    "epochs",
)
FORWARD_BACKWARD_FLOPS = 4  # per parameter and token: the weights are frozen, so 2 forward and 2 for activation gradients
EFFICIENCY = 0.35  # share of the matrix-product speed that a training step reaches


@contextlib.contextmanager
def _frozen() -> Iterator[None]:
    """What is in memory is looked through by no garbage collection: a large grid's cells make many, and are none."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@_frozen()
def preflight(
    configs: Sequence[Config], expected: Callable[[], Sequence[Config]] | None = None, elsewhere: bool = False
) -> bool:
    """Check the whole grid before its first cell; return whether to run it.

    With ``plan=true`` it prints the plan and returns False; then weights and data need not be at hand.

    Args:
        configs: of the grid's cells, or of some that show every value of a search, resolved or as Hydra composes them.
        expected: of a search, gives configs of as many cells as it will run, like those that it will choose.
        elsewhere: whether cells run in processes of their own, on other machines perhaps: then models are looked through here,
            but not loaded. Each cell tries its model before it trains.

    Raises:
        UserError: a cell cannot work; the line names the cell.
    """
    session = current()
    cells = _cells(configs)
    if not cells:
        raise UserError("the grid has no cell; give at least one value for each axis")
    only_plan = any(_checked(cell, "plan") for cell in cells)
    if not only_plan:
        for folder in {cell.config["output_dir"] for cell in cells}:
            check_output(folder)
    for place, cell in enumerate(cells, 1):
        try:
            check(cell, resources=not only_plan)
        except UserError as error:
            raise UserError(f"cell {place} of {len(cells)} ({cell}): {error}" if len(cells) > 1 else str(error)) from error
    if expected is not None and any(cell.config["when_busy"] == "defer" for cell in cells):
        raise UserError("when_busy=defer is for grids: a search waits for a busy cell, whose score decides its next question")
    if only_plan:
        print(describe(cells, None if expected is None else _cells(expected())))
        return False
    if len(cells) > 1 and not elsewhere:
        _load_each_model(cells)
    if expected is None and len(cells) > 1:
        files = {cell.folder / "record.json" for cell in cells}
        session.progress.sweep(len(files), finished=lambda: sum(file.exists() for file in files))
    return True


def finished(configs: Sequence[Config]) -> list[float | None]:
    """The validation scores of the cells of a checked grid that have a record, each told in a line; None of the others."""
    return [finished_before(cell) for cell in _cells(configs)]


def _cells(configs: Sequence[Config]) -> list[Cell]:
    session, shared = current(), Shared()
    return [Cell.of(cfg, session, shared) for cfg in configs]


def _checked(cell: Cell, key: str) -> Any:
    """A setting, once all of the cell's are checked."""
    cell.check_settings()
    return cell.config[key]


def _load_each_model(cells: Sequence[Cell]) -> None:
    """Load and try the models of those cells that are still to be trained, in each precision and on each device of theirs.

    The first cell's comes last: it is kept.

    Raises:
        UserError: one cannot be loaded.
    """
    models: dict[str, Cell] = {}
    for cell in cells:
        if cell.record() is None and cell.config["cell_timeout"] is None:  # else by the process that trains it, within its time
            models.setdefault(cell.once(_model_key, ("model", "device"), partial(_model_key, cell)), cell)
    for cell in reversed(models.values()):
        cell.base()


def _model_key(cell: Cell) -> str:
    return base_key(cell.model, resolve_device(cell.config["device"]))


def describe(cells: Sequence[Cell], expected: Sequence[Cell] | None = None) -> str:
    """The plan as text: number of cells, axes, what is already done, tokens and estimated hours.

    A search is planned by ``expected``, which stand for what it will run; ``cells`` have the values of its axes.
    """
    planned: dict[str, tuple[Cell, dict[str, Any] | None]] = {}
    missing: set[str] = set()
    for cell in cells if expected is None else expected:
        try:
            planned[cell.id] = (cell, cell.record())
        except UserError as error:  # the local data or weights that the id needs are not at hand
            planned[cell.shared.digest(cell.config)] = (cell, None)
            missing.add(str(error))
    for text in sorted(missing):
        note(f"plan: {text}")
    what = ", chosen as the search goes on"
    if expected is None:
        states = Counter(record["status"] if record else "to run" for _, record in planned.values())
        what = ": " + ", ".join(f"{n} {state}" for state, n in sorted(states.items()))
    lines = [f"{len(planned)} cell{'s' * (len(planned) != 1)}{what}"]
    for axis in AXES:
        values = list(dict.fromkeys(_axis(axis, value) for value in _distinct(cells, axis)))
        if (axis, values) in (("train_fraction", ["1"]), ("data_seed", ["as seed"])):
            continue
        lines.append(f"  {axis:<13} {len(values):>3}  {', '.join(values)}")
    todo = [cell for cell, record in planned.values() if record is None or expected is not None]
    if todo:
        lines += costs(todo, [_tokens(cell) for cell in todo], [(cell, r) for cell, r in planned.values() if r])
        lines.append("  data and weights are looked at when it runs")
    return "\n".join(lines)


def costs(todo: Sequence[Cell], tokens: Sequence[int | None], finished: Sequence[tuple[Cell, dict[str, Any]]]) -> list[str]:
    """Lines on what cells will take: tokens, main memory, time, and the same of ``plan_device``.

    Args:
        todo: the cells.
        tokens: of each one's training, None where that is unknown.
        finished: cells of the same grid with their records, whose speed counts.
    """
    lines = [
        f"  tokens to train on: {_tokens_text([t for t in tokens if t is not None], len(todo))}",
        f"  at the most: {_memory_text(todo)}",
        f"  estimated time: {_time_text(todo, tokens, [record for _, record in finished])}",
    ]
    if (name := todo[0].settings.plan_device) is not None and name != "cpu":  # a CPU is this machine's
        lines += elsewhere.lines(todo, tokens, finished, hardware(name))
    return lines


def _distinct(cells: Sequence[Cell], key: str) -> Iterable[Any]:
    """The values of a key as they first appear, each object once."""
    return {id(value): value for value in (cell.config[key] for cell in cells)}.values()


def _axis(axis: str, value: Any) -> str:
    if isinstance(value, dict):
        return str(value["name"])
    if isinstance(value, float):
        return format_lr(value) if axis == "lr" else f"{value:g}"
    if value is None:
        return "as seed" if axis == "data_seed" else "all"
    return str(value)


def _tokens(cell: Cell) -> int | None:
    """Tokens of a cell's training, from the task's typical length."""
    keys = ("task", "trainer", "train_samples", "train_fraction", "epochs")
    return cell.once(_tokens, keys, lambda: _count_tokens(cell))


def _count_tokens(cell: Cell) -> int | None:
    samples, length = cell.settings.train_samples or cell.task.train_size(), cell.task.typical_tokens
    if length is None or samples is None:
        return None
    samples = max(1, round(samples * cell.settings.train_fraction))
    return samples * cell.settings.epochs * min(length, cell.trainer.max_length)


def _tokens_text(counted: Sequence[int], cells: int) -> str:
    if not counted:
        return "unknown until the data are at hand"
    missing = f", and {cells - len(counted)} cells of unknown size" if len(counted) < cells else ""
    return f"about {sum(counted):.3g}{missing}"


def _time_text(todo: Sequence[Cell], tokens: Sequence[int | None], finished: Sequence[dict[str, Any]]) -> str:
    """Hours from finished cells of the same grid, else from counted operations and a measured matrix product."""
    measured = [r for r in finished if r.get("training")]
    trained = sum(r["training"]["tokens"] for r in measured)
    if trained and all(tokens):
        seconds = sum(r["training"]["seconds"] + r["evaluation"]["seconds"] for r in measured)
        expected = seconds / trained * sum(t or 0 for t in tokens)
        hours, speed = elsewhere.duration(expected), trained / seconds
        return f"{hours} in one process ({speed:,.0f} tokens/s with evaluation in the finished cells)"
    if any(t is None for t in tokens) or any(map(_elsewhere, todo)):
        return "unknown until a cell of this grid has finished"
    device = resolve_device(todo[0].settings.device)
    speed = _matmul_flops(device, resolve_dtype(todo[0].model.dtype, device))
    flops = 0
    for cell, t in zip(todo, tokens, strict=True):
        parameters = cell.once(_parameters, ("model",), partial(_parameters, cell))
        flops += FORWARD_BACKWARD_FLOPS * parameters * (t or 0)
    hours = elsewhere.duration(flops / (speed * EFFICIENCY))
    return f"{hours} of training on this {device.type}, {EFFICIENCY:.0%} of {speed:.2g} FLOP/s assumed, and evaluation on top"


def _memory_text(todo: Sequence[Cell]) -> str:
    """Of the cell that takes the most main memory."""
    keys = ("model", "variant", "evaluator", "device")
    parts = [cell.once(_memory, keys, partial(_memory, cell)) for cell in todo]
    return f"{as_text(max(parts, key=lambda of_cell: sum(of_cell.values())))}; this machine has {memory.machine() / 1e9:.3g}"


def _memory(cell: Cell) -> dict[str, int]:
    elsewhere = _elsewhere(cell)  # a GPU that this machine does not have: most have bfloat16, which is auto there
    device = torch.device("cuda") if elsewhere else resolve_device(cell.config["device"])
    dtype = "bfloat16" if elsewhere and cell.model.dtype == "auto" else cell.model.dtype
    return main_memory(cell, device.type, resolve_dtype(dtype, device))


def _parameters(cell: Cell) -> int:
    """Of the linear layers."""
    return sum(math.prod(shape) for shape in linear_shapes(cell.model).values())


def _elsewhere(cell: Cell) -> bool:
    """Whether it is for a GPU where there is none."""
    return cell.once(
        _elsewhere, ("device",), lambda: cell.config["device"].startswith("cuda") and not torch.cuda.is_available()
    )


@cache
def _matmul_flops(device: torch.device, dtype: torch.dtype, n: int = 1024) -> float:
    """Measured speed of an n × n matrix product in FLOP/s, best of five."""
    a = torch.randn(n, n, device=device, dtype=dtype)
    best = math.inf
    for _ in range(6):  # the first is a warm-up, slower than the others
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        started = time.perf_counter()
        a @ a
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        best = min(best, time.perf_counter() - started)
    return 2 * n**3 / best
