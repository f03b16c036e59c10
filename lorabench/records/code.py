"""What the code of a part is: stated versions, and for what states none or lies outside this package the hash of its source."""

import ast
import contextlib
import hashlib
import importlib.util
import inspect
import sysconfig
from functools import cache
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).resolve().parents[1]
OURS = ("lorabench", "hessian")


@cache
def code_of(cls: Any) -> dict[str, int | str]:
    """The code that a class runs, by the full name of each class that it is made of.

    A class of this package vouches by the ``version`` in its own body, raised whenever the same settings would give other
    results. One that states none is told by the hash of its source file, and one from elsewhere always by its sources: its own
    file and those that it imports from beside it. Installed packages count by the record's versions, not here, but for the one
    that holds the class itself.

    >>> from lorabench.subsets.random import Random
    >>> code_of(Random)
    {'lorabench.subsets.random.Random': 1, 'lorabench.subsets.base.Subset': 1}
    """
    bases = inspect.getmro(cls) if inspect.isclass(cls) else (cls,)
    counted = [base for base in bases if _top(base) in (_top(cls), *OURS) or not _is_installed(base)]
    return {f"{base.__module__}.{base.__qualname__}": _version(base) for base in counted}


def _version(cls: Any) -> int | str:
    stated = vars(cls).get("version")
    file = _source(cls)
    if _top(cls) in OURS:
        return stated if isinstance(stated, int) else _hash({file}) if file else "unknown"
    sources = _hash(_sources(cls, file)) if file else "unknown"
    return f"{stated} {sources}" if isinstance(stated, int) else sources


def _top(cls: Any) -> str:
    return str(cls.__module__).partition(".")[0]


def _source(cls: Any) -> Path | None:
    try:
        file = inspect.getsourcefile(cls)
    except (TypeError, OSError):  # a class of C, or of an interpreter or a notebook
        return None
    return Path(file).resolve() if file else None


def _is_installed(cls: type) -> bool:
    """Whether a class is Python's own or of an installed package."""
    file = _source(cls)
    return file is None or _is_library(file)


def _is_library(file: Path) -> bool:
    places = {Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    return file.is_relative_to(PACKAGE) or any(file.is_relative_to(place) for place in places)


def _sources(cls: Any, file: Path) -> set[Path]:
    """The file of a class and all source files that it imports, directly or not, but for this package and other libraries."""
    reached: set[Path] = set()
    waiting = [(file, str(cls.__module__).rpartition(".")[0])]
    while waiting:
        source, package = waiting.pop()
        if source in reached:
            continue
        reached.add(source)
        for name in _imported(source, package):
            try:
                spec = importlib.util.find_spec(name)
            except (ImportError, ValueError):
                continue
            top = name.partition(".")[0]
            if spec is None or spec.origin is None or not spec.origin.endswith(".py") or top in OURS:
                continue
            if top == _top(cls) or not _is_library(Path(spec.origin).resolve()):
                waiting.append((Path(spec.origin).resolve(), spec.parent or ""))
    return reached


def _imported(source: Path, package: str) -> set[str]:
    """Names of what a file of a package imports, and of what may be modules in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            with contextlib.suppress(ImportError):  # beyond the top of the package
                module = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
                names |= {module, *(f"{module}.{alias.name}" for alias in node.names)}
    return names


def _hash(files: set[Path]) -> str:
    """Of the contents, whatever the files' folders."""
    parts = sorted(hashlib.sha256(file.read_bytes()).hexdigest() for file in files)
    return "sha256:" + hashlib.sha256(" ".join(parts).encode()).hexdigest()[:16]
