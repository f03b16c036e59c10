"""What a JSON value is known by."""

import hashlib
import json
from typing import Any


def digest(content: Any) -> str:
    """16 hex digits of the SHA-256 of the canonical JSON of a value, as `lorabench.files` makes them."""
    text = json.dumps(_canonical(content), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _canonical(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _canonical(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
