"""A source as a config has it: which keys there are, and one line for what is wrong with them."""

from typing import Any

from lorabench.annotations import is_blank, text_of
from lorabench.errors import UserError, nearest
from lorabench.tasks.sources.base import Source

PLACES = ("path", "files")
"""Keys that say where a local copy lies; what it holds is told by its fingerprint."""


def decisive_keys(sources: Any) -> Any:
    """Return what decides a result of a source, or of several by name: all but where a copy lies and how many rows to expect.

    >>> decisive_keys({"gsm8k": {"hub": "openai/gsm8k", "rows": 1319, "path": None, "files": ["test"]}})
    {'gsm8k': {'hub': 'openai/gsm8k'}}
    """
    if not isinstance(sources, dict):
        return sources
    return {key: decisive_keys(value) for key, value in sources.items() if key not in (*PLACES, "rows")}


def mapping(node: Any, key: str) -> dict[str, Any]:
    """Return what stands in the config at ``key`` as keys and values, none for null.

    Raises:
        UserError: it is something else.
    """
    if node is None:
        return {}
    if not isinstance(node, dict):
        raise UserError(f"{key}={node} is no source; for a local file write {key}.path={node}")
    return node


def check_node(node: dict[str, Any], kind: type[Source], key: str) -> None:
    """Check the keys of a config node and the types of their values.

    Args:
        node: a source as it stands in the config.
        kind: of the source that it describes, where it names no local file.
        key: its place in the config, such as ``task.train``.

    Raises:
        UserError: a key is unknown, or a value has the wrong type.
    """
    keys = (*kind.required, *kind.optional, *PLACES)
    for name, value in node.items():
        if name not in keys:
            raise UserError(f"unknown key '{key}.{name}'; {nearest(str(name), keys)}")
        if is_blank(value):
            raise UserError(f"{key}.{name}={text_of(value)} is blank; give a text, or null")
        if value is not None and not _fits(name, value):
            raise UserError(f"{key}.{name}={value} must be {_type_of(name)}")


def arguments(node: dict[str, Any], kind: type[Source], key: str) -> dict[str, Any]:
    """Return what a checked node says of a published source, by the fields of its class.

    Raises:
        UserError: it does not say enough.
    """
    missing = [f"{key}.{name}" for name in kind.required if node.get(name) is None]
    if len(missing) == len(kind.required):
        raise UserError(
            f"{key} has no source; give local files with task.path=DIR or {key}.path=FILE, or give {' and '.join(missing)}"
        )
    if missing:
        stated = ", ".join(f"{name}={node[name]}" for name in kind.required if node.get(name) is not None)
        raise UserError(f"{key} has {stated} but no {' and no '.join(missing)}; give it, or a local file with {key}.path=FILE")
    return {name: value for name, value in node.items() if name not in PLACES}


def _fits(name: str, value: Any) -> bool:
    if name == "rows":
        return type(value) is int and value > 0
    texts = isinstance(value, list | tuple) and bool(value) and all(isinstance(item, str) for item in value)
    return texts if name == "files" else isinstance(value, str) or (name == "config" and texts)


def _type_of(name: str) -> str:
    special = {
        "rows": "a whole number above 0",
        "files": "a list of names without suffix",
        "config": "a name or a list of names",
    }
    return special.get(name, "a text; put it into quotes")
