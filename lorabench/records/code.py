"""What the code of a part is: stated versions, and for what states none or lies outside this package the hash of its source."""

import inspect
from functools import cache
from pathlib import Path
from typing import Any

from lorabench.contributed import is_library
from lorabench.imports import OURS, hash_of, sources


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
    code = hash_of(sources(str(cls.__module__), file)) if file else "unknown"
    return f"{stated} {code}" if isinstance(stated, int) else code


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
