"""``python -m lorabench.tasks preview``: a task's examples as the model sees them, their lengths, faults and cost."""

import os
import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from lorabench.contributed import config_dirs, let_import, without_config_dirs
from lorabench.errors import UserError, nearest
from lorabench.schema import CONF
from lorabench.terminal.entry import command

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from lorabench.cells.cell import Cell
    from lorabench.tasks.base import Task
    from lorabench.tasks.example import Example
    from lorabench.tasks.preview.lengths import Lengths

USAGE = """usage: {prog} preview [key=value ...] [--config-dir DIR]

What a task is, before anything is trained on it: three training examples as the model sees them, lengths in tokens, rows
that repeat or contradict each other, the sizes of the splits, references that the scorer finds wrong, the cost of a cell.
Keys are those of python -m lorabench.

  {prog} preview task=custom task.train=questions.csv
  {prog} preview task=math task.path=DATA model=smollm2-135m train_samples=2000
"""


def main(arguments: Sequence[str] | None = None, prog: str = "python -m lorabench.tasks") -> None:
    """Run the command line."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    with command():
        if not words or {"-h", "--help"} & set(words):
            print(USAGE.format(prog=prog), end="")
        elif words[0] != "preview":
            raise UserError(f"lorabench.tasks has no command {words[0]}; {nearest(words[0], ['preview'])}")
        else:
            _preview(words[1:])


def _preview(words: list[str]) -> None:
    from hydra import compose, initialize_config_dir
    from hydra.core.override_parser.overrides_parser import OverridesParser

    from lorabench import schema
    from lorabench.cells.cell import Cell
    from lorabench.cells.session import current
    from lorabench.terminal.quoting import with_home
    from lorabench.terminal.words import check_words

    let_import(words)
    overrides = with_home(without_config_dirs(words))
    if flags := [word for word in overrides if word.startswith("-")]:
        raise UserError(f"preview takes key=value, and no {flags[0]}; see --help")
    check_words(overrides, [CONF, *config_dirs(words)], sweeps=False)
    for override in OverridesParser.create().parse_overrides(overrides):
        if override.is_sweep_override():
            raise UserError(f"{override.input_line} has several values, and a preview is of one cell; give one")
    schema.register()
    terminal = sys.stdout.isatty()
    width = shutil.get_terminal_size().columns if terminal else None
    with initialize_config_dir(str(CONF), version_base="1.3"):
        places = f"hydra.searchpath={[f'file://{folder}' for folder in config_dirs(words)]}"
        cell = Cell.of(compose("config", [*overrides, places]), current())
        for line in preview(cell, width, colour=terminal and "NO_COLOR" not in os.environ):
            print(line)


def preview(cell: "Cell", width: int | None = None, colour: bool = False) -> Iterator[str]:
    """The preview of a cell's task, line by line.

    Args:
        cell: whose task, model and settings count.
        width: columns at which lines are broken; None for no limit.
        colour: whether what is not learned is greyed.

    Raises:
        UserError: the training data cannot be used; or the test problems, after all that can be said without them.
    """
    from lorabench.models.load import tokenizer_and_length
    from lorabench.tasks.custom import Custom
    from lorabench.tasks.preview.lengths import lengths

    task = cell.task
    train = task.train_examples()
    refused: UserError | None = None
    try:
        test = task.test_examples()
    except UserError as error:
        refused, test = error, list(task.all_test_examples())
    tokenizer = task.tokenizer if isinstance(task, Custom) else tokenizer_and_length(cell.model)[0]
    measured = lengths(tokenizer, [task.parts(example) for example in train])
    yield from _fitted(_chosen(task), width)
    yield from _examples(cell, tokenizer, train, measured, width, colour)
    yield from _fitted(_rows(task, train, test), width)
    yield from _fitted(_lengths(cell, tokenizer, test, measured), width)
    yield from _fitted(_cost(cell, test, measured), width)
    if refused:
        raise refused


def _fitted(lines: Iterable[str], width: int | None) -> Iterator[str]:
    """Lines of words, broken where they are too long."""
    for line in lines:
        yield from [line] if width is None or len(line) <= width else textwrap.wrap(line, width, subsequent_indent="    ")


def _chosen(task: "Task") -> Iterator[str]:
    from lorabench.tasks.custom import Custom
    from lorabench.tasks.preview.shown import on_one_line

    yield f"{task.name}: {type(task).__name__} of {type(task).__module__}"
    if isinstance(task, Custom):
        yield from (f"  {what:<9} {on_one_line(choice)}" for what, choice in task.choices.items())


def _examples(
    cell: "Cell",
    tokenizer: "PreTrainedTokenizerBase",
    train: Sequence["Example"],
    measured: "Lengths",
    width: int | None,
    colour: bool,
) -> Iterator[str]:
    """The one of median length, the shortest and the longest."""
    from lorabench.tasks.preview import shown
    from lorabench.training.data import Corpus

    task, whole = cell.task, measured.whole
    in_order = sorted(range(len(train)), key=lambda place: (whole[place], place))
    chosen = {in_order[-1]: "the longest", in_order[0]: "the shortest", in_order[len(train) // 2]: "of median length"}
    places = list(chosen)[::-1]
    corpus = Corpus([task.parts(train[place]) for place in places], tokenizer, cell.trainer.max_length)
    for place, example in zip(places, corpus.encode(range(len(places))), strict=True):
        cut = f" of {whole[place]:,}, where it is cut" if len(example.ids) < whole[place] else ""
        head = (
            f"{task.place(train[place])}, {chosen[place]}: {len(example.ids):,} tokens{cut}, {example.target_tokens:,} learned"
        )
        yield from ("", *_fitted([head], width))
        yield from shown.lines(shown.parts(tokenizer, example), width, colour)


def _rows(task: "Task", train: Sequence["Example"], test: Sequence["Example"]) -> Iterator[str]:
    from lorabench.tasks.preview import rows

    yield "\nrows"
    yield f"  {len(train):,} to train on, {len(task.validation_examples()):,} to validate on, {len(test):,} to test on"
    yield from rows.repetitions(task, train)
    yield rows.overlap(task, train, test)
    yield from rows.references(task, train, test)


def _lengths(
    cell: "Cell", tokenizer: "PreTrainedTokenizerBase", test: Sequence["Example"], measured: "Lengths"
) -> Iterator[str]:
    from lorabench.tasks.preview.lengths import beyond, prompt_lengths, table

    task, max_length, most = cell.task, cell.trainer.max_length, cell.task.max_new_tokens
    generated = "score" in (task.validation, task.tested)
    test_prompts = [task.evaluation_prompt(example) for example in test] if task.tested == "score" else []
    prompts = prompt_lengths(tokenizer, test_prompts)
    yield "\nlengths in tokens"
    yield from table(
        {"prompts": measured.given, "responses": measured.learned, "both": measured.whole, "test prompts": prompts}
    )
    yield beyond(measured.whole, max_length, f"training rows are longer than trainer.max_length={max_length}")
    if generated:
        yield beyond(measured.last, most, f"responses are longer than task.max_new_tokens={most}")


def _cost(cell: "Cell", test: Sequence["Example"], measured: "Lengths") -> Iterator[str]:
    """Rows, answers, and the plan's forecast."""
    from lorabench.cells.plan import costs

    c, task = cell.settings, cell.task
    trained = [min(length, cell.trainer.max_length) for length in measured.whole]
    samples = len(trained) if c.train_samples is None else c.train_samples
    yield "\ncost of a cell"
    if samples > len(trained):
        yield f"  train_samples={samples:,} is more than the {len(trained):,} rows to train on; give fewer, or null for all"
        samples = len(trained)
    used = max(1, round(samples * c.train_fraction))
    yield f"  {used:,} of {len(trained):,} rows in {c.epochs} epoch{'s' * (c.epochs != 1)}"
    answers = len(task.validation_examples()) if task.validation == "score" else 0
    answers += len(test) if task.tested == "score" and "test" in cell.splits else 0
    if answers:
        yield f"  {answers:,} answers of at most {task.max_new_tokens:,} tokens each"
    finished = cell.record()
    tokens = round(sum(trained) / len(trained) * used * c.epochs)
    yield from costs([cell], [tokens], [(cell, finished)] if finished else [])


if __name__ == "__main__":
    main()
