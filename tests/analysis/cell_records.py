"""Synthetic records of cells that are written again: a cell is known by the hash of its identity."""

import json

from analysis.files import digest


def decided(path, key, value):
    """Change what decides a cell, at a dotted key of its identity and of its config where that has it; returns the new path."""
    record = json.loads(path.read_text())
    *groups, last = key.split(".")
    for tree in (record["identity"], record["config"]):
        for group in groups:
            tree = tree.get(group, {})
        if tree is not record["config"] or last in tree:
            tree[last] = value
    return rewrite(path, record)


def rewrite(path, record):
    """Write a record whose identity may have changed under the id and into the folder of that; returns the new path."""
    record["id"] = digest(record["identity"])
    path.write_text(json.dumps(record))
    return path.parent.rename(path.parents[1] / record["id"]) / path.name
