"""Reads the file of an offline run: W&B's records in LevelDB's log format."""

import json
import struct
import time
from pathlib import Path
from typing import Any

HEADER, BLOCK, RECORD = 7, 32768, struct.Struct("<IHB")  # checksum, length, type: 1 whole, 2 first, 3 middle, 4 last
LAST = (1, 4)


def raw_records(file: Path):
    """The bytes of each record."""
    data = file.read_bytes()
    assert data.startswith(b":W&B")
    place, parts = HEADER, []
    while place + RECORD.size <= len(data):
        if BLOCK - place % BLOCK < RECORD.size:  # the rest of a block that has no room for another header
            place += BLOCK - place % BLOCK
            continue
        _, length, kind = RECORD.unpack_from(data, place)
        place += RECORD.size
        parts.append(data[place : place + length])
        place += length
        if kind in LAST:
            yield b"".join(parts)
            parts = []


def read_run(file: Path) -> dict[str, Any]:
    """What the file of a finished run holds, waiting for its end: W&B writes it after it has said that it is done.

    Returns:
        ``run``, W&B's message; ``config``; ``history`` by step; ``summary``; ``exit_code``; ``artifacts``: files by name.
    """
    for _ in range(600):
        logged = _read(file)
        if logged["exit_code"] is not None:
            return logged
        time.sleep(0.1)
    raise AssertionError(f"{file} has no end")


def _read(file: Path) -> dict[str, Any]:
    from wandb.proto import wandb_internal_pb2 as messages

    logged: dict[str, Any] = {"config": {}, "history": {}, "summary": {}, "exit_code": None, "artifacts": {}}
    for raw in raw_records(file):
        record = messages.Record.FromString(raw)
        kind = record.WhichOneof("record_type")
        if kind == "run":
            logged["run"] = record.run
            logged["config"] |= _values(record.run.config.update)
        elif kind == "config":
            logged["config"] |= _values(record.config.update)
        elif kind == "history":
            logged["history"][record.history.step.num] = _values(record.history.item)
        elif kind == "summary":
            logged["summary"] |= _values(record.summary.update)
        elif kind == "exit":
            logged["exit_code"] = record.exit.exit_code
        elif kind == "artifact":
            logged["artifacts"][record.artifact.name] = [entry.path for entry in record.artifact.manifest.contents]
    return logged


def _values(items) -> dict[str, Any]:
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}
