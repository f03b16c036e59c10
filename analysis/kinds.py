"""Kinds of tables and figures: each is one file, found by its name in its folder, or by a path to a file of one's own."""

import argparse
import ast
import difflib
from functools import cache
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from analysis.arguments import Parser
from analysis.errors import AnalysisError

ROOT = Path(__file__).parent


class Kinds(NamedTuple):
    """The kinds of one sort.

    Attributes:
        folder: of this package, in which every file is a kind, but those whose names start with an underscore.
        sort: what they are called in messages.
        function: what each must define; the folder's `__init__.py` says what it promises.
    """

    folder: str
    sort: str
    function: str

    def names(self) -> list[str]:
        """Those of the package, without importing any."""
        return sorted(file.stem for file in (ROOT / self.folder).glob("*.py") if not file.stem.startswith("_"))

    def describe(self) -> str:
        """A line for each, by the first line of its file."""
        width = max(map(len, self.names()))
        return "\n".join(f"  {name:{width}}  {self._about(name)}" for name in self.names())

    def _about(self, name: str) -> str:
        source = (ROOT / self.folder / f"{name}.py").read_text(encoding="utf-8")
        return (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]

    def module(self, kind: str) -> ModuleType:
        """The file of a kind, imported.

        Args:
            kind: a name, or the path of a file of one's own, which ends in `.py`.

        Raises:
            AnalysisError: there is none, or it is no kind of this sort.
        """
        if kind.endswith(".py"):
            module = _load(Path(kind))
        elif kind in self.names():
            module = import_module(f"analysis.{self.folder}.{kind}")
        else:
            close = difflib.get_close_matches(kind, self.names(), n=1)
            meant = f" (did you mean {close[0]!r}?)" if close else ""
            raise AnalysisError(f"no {self.sort} {kind!r}{meant}: there are {', '.join(self.names())}, or FILE.py of your own")
        if not hasattr(module, self.function):
            raise AnalysisError(f"{kind} is no {self.sort}: it defines no function {self.function}")
        return module


@cache
def _load(file: Path) -> ModuleType:
    spec = spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None or not file.is_file():
        raise AnalysisError(f"no file {file}: --kind takes a name or a file of your own")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TABLES = Kinds("tables", "kind of table", "blocks")
FIGURES = Kinds("figures", "kind of figure", "draw")


def add_kind(parser: argparse.ArgumentParser, kinds: Kinds, default: str, words: list[str]) -> None:
    """`--kind`, and the options of the kind that the words name, for which its file is imported."""
    about = "one of those below, or FILE.py (default: %(default)s)"
    kind = parser.add_argument("--kind", metavar="KIND", default=default, help=about)
    kind.suggestions = kinds.names()  # type: ignore[attr-defined]  # for the shell's completion
    parser.epilog = f"kinds (with --kind KIND --help, their own options):\n{kinds.describe()}"
    command = parser.prog.rpartition(" ")[2]
    if command not in words[:1]:
        return
    first = Parser(prog=parser.prog, add_help=False)
    first.add_argument("--kind", default=None if {"-h", "--help"} & set(words) else default)
    named = first.parse_known_args(words[1:])[0].kind
    if named is not None:
        add_arguments = getattr(kinds.module(named), "add_arguments", None)
        if add_arguments is not None:
            add_arguments(parser.add_argument_group(f"of --kind {named}"))
