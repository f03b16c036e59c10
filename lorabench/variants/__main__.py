"""``python -m lorabench.variants``: the table of variants for a model and a rank."""

import argparse
import re
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from hydra import compose, initialize_config_dir
from peft import get_peft_model

from lorabench.cells.cell import Cell
from lorabench.cells.session import current
from lorabench.contributed import config_dirs, let_import
from lorabench.errors import UserError
from lorabench.models.shapes import linear_shapes
from lorabench.schema import CONF, ModelConfig, register
from lorabench.terminal.entry import command, one_line
from lorabench.terminal.quoting import quote
from lorabench.variants import peft_types
from lorabench.variants.adapter import Adapter, fitted
from lorabench.variants.base import Variant
from lorabench.variants.peft import PEFT

WIDTH = 120

LEGEND = """\
MB: of optimizer state. merged: plain weights hold it, and vLLM serves them; adapters as such are never given to vLLM.
quantised: it neither reads nor changes W while it trains, which model.quantization=nf4 or int8 asks for."""

OF_PEFT = (
    f"by its type: variant.peft_type=TYPE, {len(peft_types.PeftType) - len(peft_types.LACKS)} of {len(peft_types.PeftType)} "
    "train here (results/coverage.md)"
)


@dataclass(frozen=True)
class Row:
    """One variant on one model at one rank.

    Attributes:
        name: as on the command line.
        formula: first line of its class's docstring, with the source.
        change: what it changes against LoRA: first line of its file, after the name.
        trained: number of trained values.
        share: ``trained`` over that of a rank-r pair of factors.
        optimizer_bytes: state of its optimizer.
        merged: whether plain weights hold what it learns.
        quantised: whether a quantised base would do (`Variant.starts_on_quantised`).
        refusal: why it cannot have this rank on this model; the numbers are 0 then.
        open: what must be chosen before there are numbers.
    """

    name: str
    formula: str
    change: str
    trained: int = 0
    share: float = 0.0
    optimizer_bytes: int = 0
    merged: bool = False
    quantised: bool = False
    refusal: str = ""
    open: str = ""

    @property
    def source(self) -> str:
        """The paper's arXiv id, as the formula's line gives it."""
        return (re.findall(r"arXiv (\d{4}\.\d{5})", self.formula) or ["-"])[0]


def first_line(documented: object) -> str:
    """First line of a docstring, empty where there is none."""
    return ((documented.__doc__ or "").strip().splitlines() or [""])[0]


def row(variant: Variant, spec: ModelConfig, budget: int) -> Row:
    """Describe a variant on a model where LoRA trains ``budget`` values."""
    shapes = linear_shapes(spec)
    formula = first_line(type(variant))
    change = first_line(sys.modules[type(variant).__module__]).partition(": ")[2].rstrip(".")
    if isinstance(variant, PEFT) and not variant.peft_type and not variant.config:
        return Row(variant.name, formula, change, open=OF_PEFT)
    try:
        variant.check(shapes)
    except UserError as error:
        return Row(variant.name, formula, change, refusal=str(error))
    trained = said = variant.trainable_parameters(shapes)
    if isinstance(variant, Adapter) and _states(variant, "trainable_parameters") > _states(variant, "trained"):
        trained = count_trained(variant, spec)
    if not said:
        return Row(variant.name, formula, change, open="its values are known when it starts, from weights or data")
    size = variant.optimizer_bytes(shapes) * trained // said  # per trained value
    merged, quantised = variant.mergeable, variant.starts_on_quantised
    return Row(variant.name, formula, change, trained, trained / budget, size, merged, quantised)


def count_trained(variant: Adapter, spec: ModelConfig) -> int:
    """The number of values that the variant's ``trained`` gives, of a model without weights."""
    with torch.device("meta"):
        shapes = linear_shapes(spec)
        model = shapes.skeleton()
        adapted = get_peft_model(model, fitted(variant.peft_config(), model, variant.targets(shapes)))
    return sum(p.numel() for p in variant.trained(adapted).values())


def _states(variant: Variant, name: str) -> int:
    """How far the class that states a method is from the variant's own."""
    return next(place for place, base in enumerate(type(variant).__mro__) if name in vars(base))


def rows(model: str, rank: int, own: Sequence[Path] = ()) -> list[Row]:
    """Describe every variant in conf/variant, and those of folders for ``--config-dir``.

    Raises:
        UserError: none of them can have this rank on this model.
    """
    described = []
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        places = f"hydra.searchpath={[f'file://{folder}' for folder in own]}"
        lora = _cell(model, rank, "lora", places)
        shapes = linear_shapes(lora.model)
        lora.variant.check(shapes)
        budget = lora.variant.trainable_parameters(shapes)
        for file in sorted(file for folder in (CONF, *own) for file in (folder / "variant").glob("*.yaml")):
            described.append(row(_cell(model, rank, file.stem, places).variant, lora.model, budget))
    if all(entry.refusal or entry.open for entry in described):
        raise UserError(described[0].refusal)
    return described


def _cell(model: str, rank: int, variant: str, places: str) -> Cell:
    return Cell.of(compose("config", [f"model={quote(model)}", f"variant={variant}", f"rank={rank}", places]), current())


def table(entries: Sequence[Row]) -> str:
    """Lay out the rows: first the numbers, then what each changes and its formula."""
    width = max(len(entry.name) for entry in entries)
    head = f"{'trained':>13}  {'/ LoRA':>6}  {'optimizer MB':>12}  {'merged':<6}  {'quantised':<9}  arXiv"
    numbers = [f"{'variant':<{width}}  {head}"]
    words = []
    for entry in entries:
        numbers += wrapped(f"{entry.name:<{width}}  {_numbers(entry)}", width)
        words += wrapped(f"{entry.name:<{width}}  {entry.change}", width) + wrapped(f"{'':<{width}}  {entry.formula}", width)
    return "\n".join([*numbers, "", *words])


def _numbers(entry: Row) -> str:
    if entry.refusal or entry.open:
        return f"cannot: {entry.refusal}" if entry.refusal else entry.open
    merged, quantised = ("yes" if holds else "no" for holds in (entry.merged, entry.quantised))
    cost = f"{entry.trained:>13,}  {entry.share:>6.3f}  {entry.optimizer_bytes / 1e6:>12,.2f}"
    return f"{cost}  {merged:<6}  {quantised:<9}  {entry.source}"


def wrapped(line: str, width: int) -> list[str]:
    """A line of the table in lines of at most ``WIDTH``, below the column after the names."""
    return (
        textwrap.wrap(line, WIDTH, subsequent_indent=" " * (width + 2), drop_whitespace=True) if len(line) > WIDTH else [line]
    )


def main(arguments: Sequence[str] | None = None, prog: str = "python -m lorabench.variants") -> None:
    """Print the table."""
    with command():
        parser = one_line(argparse.ArgumentParser(prog=prog, description="Variants of a model at a rank."))
        parser.add_argument(
            "--model", default="tiny", help="a name in conf/model, path:DIR or hub:OWNER/NAME@COMMIT (default: %(default)s)"
        )
        parser.add_argument("--rank", type=int, default=8, help="LoRA's rank, every variant's budget (default: %(default)s)")
        parser.add_argument("--config-dir", metavar="DIR", help="a folder with variants of your own, too")
        words = list(sys.argv[1:] if arguments is None else arguments)
        chosen = parser.parse_args(words)
        let_import(words)
        described = rows(chosen.model, chosen.rank, config_dirs(words))
        print(f"{chosen.model}, rank {chosen.rank}\n\n{table(described)}\n\n{LEGEND}")


if __name__ == "__main__":
    main()
