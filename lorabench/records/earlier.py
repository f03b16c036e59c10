"""Records of the same settings under other ids: what of their code, or of their model and data, is another now."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from lorabench.files import digest, read_json
from lorabench.records import legacy

VERSIONS = ("version", "dropout_version")
"""What model and trainer say of their code."""

THINGS = ("model", "task")
"""Parts with a fingerprint: what a model and data are."""


@dataclass(frozen=True)
class Earlier:
    """What names the cell of a finished record.

    Attributes:
        folder: of the cell.
        schema: of the record.
        settings: their digest (``settings``).
        identity: of the record.
        sources: as the config states model and task.
    """

    folder: Path
    schema: int
    settings: str
    identity: dict[str, Any]
    sources: dict[str, Any]


def same_settings(
    output: Path, config: dict[str, Any], identity: dict[str, Any], of_schema_1: dict[str, Any]
) -> tuple[Path, list[str]] | None:
    """The newest finished cell of an output folder that has these settings under another id, and what differs.

    Model and data are the same where their fingerprints are, or where the config names them alike: then files have changed
    since, or the way in which they are told.

    Args:
        output: folder of cells.
        config: of the cell.
        identity: of the cell.
        of_schema_1: the identity that schema 1 gave to the cell (``legacy.legacy_identity``).
    """
    wanted = {1: of_schema_1, 2: identity}
    digests = {schema: settings(stated) for schema, stated in wanted.items()}
    files = sorted(output.glob("*/record.json"), key=lambda file: file.stat().st_mtime_ns, reverse=True)
    for file in files:
        stat = file.stat()
        earlier = _read(file, stat.st_size, stat.st_mtime_ns)
        if earlier is None or digests.get(earlier.schema) != earlier.settings:
            continue
        others = [part for part in THINGS if _fingerprint(earlier.identity, part) != _fingerprint(wanted[earlier.schema], part)]
        if all(_source(earlier.sources[part]) == _source(config[part]) for part in others):
            then = legacy.versions_of_then(identity) if earlier.schema == 1 else versions(earlier.identity)
            changes = _differences(then, versions(identity))
            return earlier.folder, changes + [f"another {part}.fingerprint" for part in others]
    return None


def settings(identity: dict[str, Any]) -> str:
    """Digest of an identity, of either schema, without code and fingerprints."""
    kept = legacy.without(identity, {"code"})
    of_code = {"model": VERSIONS, "trainer": VERSIONS, "task": ("version",) if "code" not in identity["task"] else ()}
    for part, names in of_code.items():
        kept[part] = {key: value for key, value in kept[part].items() if key not in (*names, "fingerprint")}
    if kept.get("data_seed") == kept["seed"]:  # which had another id before
        del kept["data_seed"]
    return digest(kept)


def versions(identity: dict[str, Any]) -> dict[str, int | str]:
    """Of all code in an identity of schema 2: by the full names of classes, and of ``model`` and ``trainer``."""
    stated = {"model.version": 1}  # before it was told
    for part in ("model", "trainer"):
        stated |= {f"{part}.{key}": identity[part][key] for key in VERSIONS if key in identity[part]}
    return stated | {name: version for part in legacy.parts(identity) for name, version in part["code"].items()}


def _differences(then: dict[str, int | str], now: dict[str, int | str]) -> list[str]:
    """``NAME 1, now 2``; hashes of sources say nothing to a reader."""
    lines = []
    for name in sorted(then.keys() | now.keys()):
        before, after = then.get(name), now.get(name)
        if before is None or after is None:
            lines.append(f"{name} is {'new' if before is None else 'gone'}")
        elif before != after:
            stated = isinstance(before, int) and isinstance(after, int)
            lines.append(f"{name} {before}, now {after}" if stated else f"the source of {name}")
    return lines


@lru_cache(maxsize=4096)
def _read(file: Path, size: int, modified: int) -> Earlier | None:
    """What the record of a finished cell says, None of others and of what is no record; once for an unchanged file."""
    record = read_json(file) or {}
    identity: Any = record.get("identity")
    config: Any = record.get("config")
    if record.get("status") not in ("complete", "diverged") or record.get("schema_version") not in (1, 2):
        return None
    if not all(isinstance(tree, dict) and isinstance(tree.get(part), dict) for tree in (identity, config) for part in THINGS):
        return None
    if not isinstance(identity.get("trainer"), dict):
        return None
    sources = {part: config[part] for part in THINGS}
    return Earlier(file.parent, record["schema_version"], settings(identity), identity, sources)


def _fingerprint(identity: dict[str, Any], part: str) -> Any:
    return identity[part].get("fingerprint")


def _source(node: dict[str, Any]) -> dict[str, Any]:
    """What a config says of a model or a task; schema 1 had a task's version there."""
    return {key: value for key, value in node.items() if value is not None and key != "version"}
