"""A record is data: of what its config names, only this package's classes, or those of the command's own folder, are built."""

from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lorabench.contributed import OURS, given_folder
from lorabench.errors import UserError


def check_foreign(config: Mapping[str, Any], record: Path) -> None:
    """Check what a record's config would build and call.

    ``_target_`` of every depth, and a scorer that is a function, MODULE:FUNCTION. Nothing is imported for it: what lies in the
    working folder may have come with the record.

    Args:
        config: of the record.
        record: its file, for the line.

    Raises:
        UserError: it names something else.
    """
    for name in _named(config):
        root = name.replace(":", ".").partition(".")[0]
        if not _is_ours(root):
            raise UserError(
                f"{record} names {name}, which is not lorabench's: of a record no other code is run; if it is yours, name its "
                "folder with --config-dir DIR"
            )


def _named(node: Any) -> Iterator[str]:
    """Names of classes and functions in a tree."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            if key == "_target_" or (key == "scorer" and isinstance(value, str) and ":" in value and "=" not in value):
                yield str(value)
            yield from _named(value)
    elif isinstance(node, Sequence) and not isinstance(node, str):
        for value in node:
            yield from _named(value)


def _is_ours(root: str) -> bool:
    """Whether a top-level module is one of this project's, or lies in the folder of the command line."""
    try:
        spec = find_spec(root) if root.isidentifier() else None
    except (ImportError, ValueError):
        return False
    origin = spec.origin if spec is not None else None
    if origin is None:
        return False
    file, folder = Path(origin).resolve(), given_folder()
    return any(file.is_relative_to(place) for place in OURS) or (folder is not None and file.is_relative_to(folder.resolve()))
