"""What the code of a part is: stated versions, and for what states none or lies outside this package the hash of its source."""

import ast
import contextlib
import hashlib
import importlib.util
import inspect
from functools import cache
from pathlib import Path
from typing import Any

from lorabench.contributed import is_library

OURS = ("lorabench", "hessian")


@cache
def code_of(cls: Any) -> dict[str, int | str]:
    """The code that a class runs, by the full name of each class that it is made of.

    A class of this package vouches by the ``version`` in its own body, raised whenever the same settings would give other
    results, a changed default included. One that states none is told by the hash of its sources, and one from elsewhere always:
    its own file and those that it imports from beside it. Installed packages count by the record's versions, not here, but for
    the one that holds the class itself. Version 0 is of a class here that was parted from
    another one, whose version tells of it.

    >>> from lorabench.subsets.random import Random
    >>> code_of(Random)
    {'lorabench.subsets.random.Random': 1, 'lorabench.subsets.base.Subset': 1}
    """
    bases = inspect.getmro(cls) if inspect.isclass(cls) else (cls,)
    counted = [base for base in bases if _top(base) in (_top(cls), *OURS) or not _is_installed(base)]
    counted = [base for base in counted if not (_top(base) in OURS and vars(base).get("version") == 0)]
    return {f"{base.__module__}.{base.__qualname__}": _version(base) for base in counted}


def _version(cls: Any) -> int | str:
    stated = vars(cls).get("version")
    file = _source(cls)
    if _top(cls) in OURS and isinstance(stated, int):
        return stated
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
    return file is None or is_library(file)


def _sources(cls: Any, file: Path) -> set[Path]:
    """The file of a class and all source files beside it that it imports, directly or not.

    Of a class from elsewhere these are all but libraries and this package; of one of this package, those of its own room
    (``lorabench.variants``, say) whose classes state no version.
    """
    room = ".".join(str(cls.__module__).split(".")[:2]) + "."
    reached: set[Path] = set()
    waiting = [(file, str(cls.__module__).rpartition(".")[0])]
    while waiting:
        source, package = waiting.pop()
        if source in reached:
            continue
        reached.add(source)
        for name in _imports(source, package):
            module = _locate(name)
            if module is None:
                continue
            if _top(cls) in OURS:
                beside = name.startswith(room) and not _states_version(module)
            else:
                top = name.partition(".")[0]
                beside = top not in OURS and (top == _top(cls) or not is_library(module))
            if beside:
                waiting.append((module, name if module.name == "__init__.py" else name.rpartition(".")[0]))
    return reached


def _locate(name: str) -> Path | None:
    """The source file of a module; found without importing it or its packages, whose code may do anything."""
    top, *parts = name.split(".")
    try:
        spec = importlib.util.find_spec(top)  # of a top-level name, which imports nothing
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    if not parts:
        return Path(spec.origin).resolve() if spec.origin and spec.origin.endswith(".py") else None
    for folder in spec.submodule_search_locations or []:
        place = Path(folder).joinpath(*parts)
        for file in (place.with_suffix(".py"), place / "__init__.py"):
            if file.is_file():
                return file.resolve()
    return None


def _states_version(file: Path) -> bool:
    """Whether a class in a file states its version."""
    classes = [node for node in ast.walk(ast.parse(file.read_bytes())) if isinstance(node, ast.ClassDef)]
    named = (part.target for node in classes for part in node.body if isinstance(part, ast.AnnAssign))
    return any(isinstance(target, ast.Name) and target.id == "version" for target in named)


def _imports(source: Path, package: str) -> set[str]:
    """Names of what a file of a package imports, and of what may be modules in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source.read_bytes())):
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
