"""``python -m lorabench.new variant NAME``: the files of a new variant, to be filled in."""

import argparse
import importlib.util
import keyword
import shlex
from collections.abc import Sequence
from pathlib import Path

from lorabench.errors import UserError
from lorabench.terminal.entry import command, one_line

METHOD = '''"""{title}: <what it changes against LoRA, in a line>."""

import torch

from lorabench.variants.lora import LoRA


class {title}(LoRA):
    """y = (W + s·BA)x, <the formula of what is new> (<Author> <year>, arXiv <number>).

    <What the symbols are, and where the method differs from its paper.>
    """

    # Say what the method changes, and delete the rest; ``lorabench/variants/base.py`` is the contract:
    #   the start        factors, or attach
    #   what is trained  trained; touched, where it is a weight of the base
    #   the step         optimizer, whose groups keep their own lr as their peak; clip, before_step, after_step, state
    #   what comes out   merged, save
    # Until the class states a ``version: ClassVar[int]`` of its own, cells are told apart by the hash of this file.

    def factors(
        self, name: str, weight: torch.Tensor, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """A [r, n] ~ N(0, 1/n), drawn on the CPU from ``generator`` alone; None stands for B = 0."""
        n = weight.shape[1]
        return torch.randn(self.rank, n, generator=generator) / n**0.5, None
'''

YAML = """# <Author> <year> (arXiv <number>): where each default comes from.
defaults: [lora]
_target_: {module}.{title}
name: {name}
"""

TEST = '''"""{title} against its formula, computed in another way."""

import torch

from {module} import {title}


def test_the_start_is_that_of_the_formula():
    """Replace it by the method's own: an independent computation in float64, at several shapes."""
    variant = {title}(name="{name}", rank=4, alpha=4, dropout=0.0, target_modules=["q_proj"])
    a, b = variant.factors("layers.0.q_proj", torch.zeros(24, 4096), torch.Generator().manual_seed(0))
    assert a.shape == (4, 4096) and b is None
    assert abs(a.double().std() * 4096**0.5 - 1) < 0.05
'''


def variant_files(name: str, folder: Path | None, checkout: Path) -> dict[Path, str]:
    """The files of a new variant and what is in them.

    Args:
        name: as it will be on the command line.
        folder: to be named by ``--config-dir``; None puts the files into the checkout.
        checkout: the project's root.

    Raises:
        UserError: a name that Python cannot have.
    """
    if not name.isidentifier() or keyword.iskeyword(name) or name != name.lower():
        raise UserError(f"'{name}' cannot name a module; use small letters, digits and _")
    if folder is not None and importlib.util.find_spec(name) is not None:
        raise UserError(f"Python has a module '{name}' already, which would be imported instead; choose another name")
    title = "".join(part.capitalize() for part in name.split("_"))
    if folder is None:
        module = f"lorabench.variants.{name}"
        files = [
            checkout / "lorabench" / "variants" / f"{name}.py",
            checkout / "conf" / "variant" / f"{name}.yaml",
            checkout / "tests" / "lorabench" / "variants" / f"test_{name}.py",
        ]
    else:
        module = name
        files = [folder / f"{name}.py", folder / "variant" / f"{name}.yaml", folder / f"test_{name}.py"]
    words = {"name": name, "title": title, "module": module}
    return {file: text.format(**words) for file, text in zip(files, (METHOD, YAML, TEST), strict=True)}


def parser(prog: str, words: Sequence[str] = ()) -> argparse.ArgumentParser:
    """The parser of the command line, whatever its words."""
    parser = one_line(argparse.ArgumentParser(prog=prog, description=__doc__))
    kinds = parser.add_subparsers(required=True, metavar="KIND")
    variant = one_line(kinds.add_parser("variant", help="a method: its class, its yaml and a test"))
    variant.add_argument("name", metavar="NAME")
    variant.add_argument("--into", metavar="DIR", type=Path, help="a folder for --config-dir DIR (default: this checkout)")
    return parser


def main(arguments: list[str] | None = None, prog: str = "python -m lorabench.new") -> None:
    """The command line: write the files, overwrite nothing."""
    with command():
        options = parser(prog).parse_args(arguments)
        _write(options.name, options.into)


def _write(name: str, folder: Path | None) -> None:
    from lorabench.schema import CONF

    checkout = CONF.parent
    if folder is None and not (checkout / "tests").is_dir():
        raise UserError("lorabench is installed here and not a checkout; give a folder of your own with --into DIR")
    files = variant_files(name, folder, checkout)
    for file in files:
        if file.exists():
            raise UserError(f"{file} is there already; choose another name")
    for file, text in files.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        print(file)
    where = "" if folder is None else f" --config-dir {shlex.quote(str(folder))}"
    print(f"\npython -m lorabench variant=lora,{name} lr=2e-3,6e-3{where} -m")


if __name__ == "__main__":
    main()
