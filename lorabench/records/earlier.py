"""Records of the same settings under other ids: what of their code, or of their model and data, is another now."""

import json
import os
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from lorabench.files import read_json
from lorabench.records import legacy
from lorabench.records.shared import Shared

VERSIONS = ("version", "dropout_version")
"""What model and trainer say of their code."""

THINGS = ("model", "task")
"""Parts with a fingerprint: what a model and data are."""

COARSE = 2_000_000_000
"""Nanoseconds within which a file system may give two changes of a folder one time (FAT: 2 s)."""

READ = ("schema_version", "status", "identity", "config")
"""What is read of a record."""


@dataclass(frozen=True)
class Earlier:
    """What names the cell of a finished record.

    Attributes:
        name: of the cell's folder.
        modified: when the record was, in nanoseconds.
        schema: of the record.
        identity: of the record.
        sources: as the config states model and task.
    """

    name: str
    modified: int
    schema: int
    identity: dict[str, Any]
    sources: dict[str, Any]


class Finished:
    """The finished cells of an output folder by schema and settings: each record is read once, when its folder is first listed.

    A process learns nothing of a record that is written or changed after that; only a line of text depends on it.

    Args:
        output: folder of cells; one that is not there has none.
    """

    def __init__(self, output: Path):
        self._output = output
        self._listed: set[str] = set()
        self._entries: set[str] = set()
        self._unchanged_since: int | None = None
        self._by_settings: dict[tuple[int, str], list[Earlier]] = {}

    def of(self, digests: dict[int, str]) -> list[Earlier]:
        """The cells that are still there with these digests of ``settings``, by schema; the newest come first."""
        names = self.names()
        for name in names - self._listed:
            if earlier := _read(self._output / name / "record.json"):
                self._by_settings.setdefault((earlier.schema, settings(earlier.identity)), []).append(earlier)
            self._listed.add(name)
        matching = [earlier for key in digests.items() for earlier in self._by_settings.get(key, []) if earlier.name in names]
        return sorted(matching, key=lambda earlier: earlier.modified, reverse=True)

    def names(self) -> set[str]:
        """What lies in the folder, listed again when it has changed, or had just changed when it was listed."""
        try:
            changed = os.stat(self._output).st_mtime_ns
            if changed != self._unchanged_since:
                self._entries = set(os.listdir(self._output))
                self._unchanged_since = changed if time.time_ns() - changed > COARSE else None
        except FileNotFoundError:
            return set()
        return self._entries


@cache
def finished(output: Path) -> Finished:
    """Of an absolute path, one for all cells of a process."""
    return Finished(output)


def same_settings(
    output: Path,
    config: dict[str, Any],
    identity: dict[str, Any],
    of_schema_1: dict[str, Any],
    shared: Shared | None = None,
) -> tuple[Path, list[str]] | None:
    """The newest finished cell of an output folder that has these settings under another id, and what differs.

    Model and data are the same where their fingerprints are, or where the config names them alike: then files have changed
    since, or the way in which they are told.

    Args:
        output: folder of cells.
        config: of the cell.
        identity: of the cell.
        of_schema_1: the identity that schema 1 gave to the cell (``legacy.legacy_identity``).
        shared: by cells of the same grid.
    """
    wanted = {1: of_schema_1, 2: identity}
    digests = {schema: settings(stated, shared) for schema, stated in wanted.items()}
    for earlier in finished(output.absolute()).of(digests):
        others = [part for part in THINGS if _fingerprint(earlier.identity, part) != _fingerprint(wanted[earlier.schema], part)]
        if all(_source(earlier.sources[part]) == _source(config[part]) for part in others):
            then = legacy.versions_of_then(identity) if earlier.schema == 1 else versions(earlier.identity)
            changes = _differences(then, versions(identity))
            return output / earlier.name, changes + [f"another {part}.fingerprint" for part in others]
    return None


def settings(identity: dict[str, Any], shared: Shared | None = None) -> str:
    """Digest of an identity, of either schema, without code and fingerprints."""
    shared = shared or Shared()
    kept = dict(zip(identity, shared.of_entries(settings, identity, _settings), strict=True))
    if kept.get("data_seed") == kept["seed"]:  # which had another id before
        del kept["data_seed"]
    return shared.digest(kept)


def _settings(key: str, value: Any) -> Any:
    """An entry of an identity without code and fingerprints."""
    kept = legacy.without(value, {"code"})
    if key not in ("model", "trainer", "task"):
        return kept
    of_code = VERSIONS if key != "task" else ("version",) if "code" not in value else ()
    return {name: entry for name, entry in kept.items() if name not in (*of_code, "fingerprint")}


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


def _read(file: Path) -> Earlier | None:
    """What the record of a finished cell says, None of others and of what is no record."""
    try:
        modified = file.stat().st_mtime_ns
    except (FileNotFoundError, NotADirectoryError):
        return None
    record = _members(file)
    identity: Any = record.get("identity")
    config: Any = record.get("config")
    if record.get("status") not in ("complete", "diverged") or record.get("schema_version") not in (1, 2):
        return None
    if not all(isinstance(tree, dict) and isinstance(tree.get(part), dict) for tree in (identity, config) for part in THINGS):
        return None
    try:
        settings(identity)
        versions(identity)
    except (AttributeError, KeyError, TypeError):  # of no cell
        return None
    return Earlier(file.parent.name, modified, record["schema_version"], identity, {part: config[part] for part in THINGS})


def _members(file: Path) -> dict[str, Any]:
    """``READ`` of a record. As ``write_json`` lays it out, nothing else is parsed: the steps are nearly all of it."""
    members: dict[str, Any] = {}
    try:
        text = file.read_bytes().decode()
        for key in READ:
            start = f'\n "{key}": '  # one space: of no part inside
            members[key] = json.JSONDecoder().raw_decode(text, text.index(start) + len(start))[0]
    except (OSError, ValueError, RecursionError):  # gone, a folder, laid out otherwise, or no record
        return read_json(file) or {}
    return members


def _fingerprint(identity: dict[str, Any], part: str) -> Any:
    return identity[part].get("fingerprint")


def _source(node: dict[str, Any]) -> dict[str, Any]:
    """What a config says of a model or a task; schema 1 had a task's version there."""
    return {key: value for key, value in node.items() if value is not None and key != "version"}
