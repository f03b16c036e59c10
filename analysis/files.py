"""What a JSON value is known by."""

import hashlib
import json
from typing import Any


def digest(content: Any) -> str:
    """16 hex digits of the SHA-256 of the canonical JSON of a value, as `lorabench.files` makes them."""
    return hashlib.sha256(canonical_json(content).encode()).hexdigest()[:16]


def canonical_json(content: Any) -> str:
    """The JSON of a value of which ``digest`` is the hash."""
    return json.dumps(_canonical(content), sort_keys=True, separators=(",", ":"))


def _canonical(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _canonical(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
