"""What a source file imports from beside it, and the hash of them all: read, never run."""

import ast
import contextlib
import hashlib
import importlib.util
from pathlib import Path

from lorabench.contributed import is_library

OURS = ("lorabench", "hessian")


def sources(module: str, file: Path) -> set[Path]:
    """A module's file and all source files beside it that it imports, directly or not.

    Of a module from elsewhere these are all but libraries and this package; of one of this package, those of its own room
    (``lorabench.variants``, say) whose classes state no version.
    """
    top, room = module.partition(".")[0], ".".join(module.split(".")[:2]) + "."
    reached: set[Path] = set()
    waiting = [(file, module.rpartition(".")[0])]
    while waiting:
        source, package = waiting.pop()
        if source in reached:
            continue
        reached.add(source)
        for name in _imports(source, package):
            imported = _locate(name)
            if imported is None:
                continue
            if top in OURS:
                beside = name.startswith(room) and not _states_version(imported)
            else:
                its_top = name.partition(".")[0]
                beside = its_top not in OURS and (its_top == top or not is_library(imported))
            if beside:
                waiting.append((imported, name if imported.name == "__init__.py" else name.rpartition(".")[0]))
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


def hash_of(files: set[Path]) -> str:
    """Of the contents, whatever the files' folders."""
    parts = sorted(hashlib.sha256(file.read_bytes()).hexdigest() for file in files)
    return "sha256:" + hashlib.sha256(" ".join(parts).encode()).hexdigest()[:16]
