"""Where the rows of `task.train` and `task.test` are: a file, or a data set of the hub."""

import re
from pathlib import Path
from typing import Any

from lorabench.errors import UserError
from lorabench.tasks.sources.base import Source
from lorabench.tasks.sources.hub import HubSource
from lorabench.tasks.sources.local import LocalSource
from lorabench.tasks.sources.node import arguments, check_node
from lorabench.tasks.sources.tables import SEPARATORS

HUB = re.compile(r"(?P<hub>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?")
COMMIT = re.compile(r"[0-9a-f]{40}")
FILES = (".json", ".jsonl", ".parquet", *SEPARATORS)


def source_of(given: Any, key: str, split: str) -> Source:
    """Where rows come from.

    Args:
        given: a file, ``OWNER/NAME@COMMIT`` of the hub, or a node with ``path`` or with the fields of ``HubSource``.
        key: its place in the config.
        split: of a data set of the hub, where that is not said.

    Raises:
        UserError: there is no such file, or the node does not say what it must.
    """
    if isinstance(given, dict):
        check_node(given, HubSource, key)
        if given.get("path"):
            return _local(str(given["path"]), f"{key}.path")
        source = HubSource(**arguments({"split": split} | given, HubSource, key))
        _check_pinned(source.hub, source.revision, f"{key}.revision")
        return source
    text = str(given)
    if Path(text).expanduser().is_dir():
        raise UserError(f"{key}={text} is a folder; give the file in it ({', '.join(FILES)}, or gzipped)")
    if Path(text).expanduser().is_file():
        return _local(text, key)
    match = HUB.fullmatch(text)
    if match is None or text.removesuffix(".gz").lower().endswith(FILES):
        raise UserError(f"{key}={text}: there is no such file; give one ({', '.join(FILES)}, or gzipped), or OWNER/NAME@COMMIT")
    _check_pinned(match["hub"], match["revision"], key)
    return HubSource(hub=match["hub"], revision=match["revision"], split=split)


def _local(path: str, key: str) -> LocalSource:
    if not Path(path).expanduser().is_file():
        raise UserError(f"{key}={path}: there is no such file")
    return LocalSource(path, ())


def _check_pinned(hub: str, revision: str | None, key: str) -> None:
    """Raise UserError unless a commit is named: a branch may hold other rows tomorrow, under the same id of a cell."""
    if revision is None or not COMMIT.fullmatch(revision):
        stated = f"the revision {revision}, which is" if revision else "no revision, so"
        raise UserError(
            f"{key}: the data set {hub} has {stated} not pinned; give the commit that its page on the hub shows under Files: "
            f"{hub}@COMMIT"
        )
