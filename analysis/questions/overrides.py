"""What a cell was configured with beyond conf/'s defaults, as overrides of `python -m lorabench`."""

import json
import logging
import math
import re
import shlex
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

ROOT = Path(__file__).resolve().parents[2]
CONF = (ROOT / "lorabench" / "conf", ROOT / "conf")
"""Of an installed package, or of a checkout."""

GROUPS = ("model", "task", "variant", "trainer", "evaluator", "subset")
OF_THE_CODE = ("_target_", "name", "version", "engine")
"""Keys of a group that the choice of its yaml decides; `engine` has an override of its own."""

SCHEMA = {"model": {"weights": "pretrained", "dtype": "auto"}}
"""Defaults that no yaml holds."""

log = logging.getLogger(__name__)

PLAIN = re.compile(r"(?!(?:true|false|null|nan|inf)$)[a-z_/][a-z0-9_./:-]*", re.IGNORECASE | re.ASCII)
"""Strings that need no quotes: others have a character of Hydra's grammar, or are a value of another type in it."""

NAME = re.compile(r"[a-z0-9_.-]{1,100}", re.IGNORECASE | re.ASCII)
"""Of a yaml in its group's folder."""

KEY = re.compile(r"[a-z_$][a-z0-9_$-]*(\.([a-z_$][a-z0-9_$-]*|0|[1-9][0-9]*))*", re.IGNORECASE | re.ASCII)


def overrides(config: Mapping[str, Any]) -> list[str]:
    """Words such as `variant.alpha=16`, quoted for a shell, for what differs from the yamls of the record's groups.

    What no override can say is left out, with a warning.

    Args:
        config: `config` of a record. Its top-level axes and the names of model, task and variant are left to the caller.
    """
    words = [] if config.get("data_seed") is None else [f"data_seed={config['data_seed']}"]
    evaluator = _node(config, "evaluator")
    for place, name in (
        ("subset", _node(config, "subset").get("name")),
        ("evaluator", evaluator.get("name")),
        ("evaluator@evaluator.engine", _node(evaluator, "engine").get("name")),
    ):
        if name not in (None, "hf", "random"):
            words.append(f"{place}={name}")
    for group in GROUPS:
        node = _node(config, group)
        defaults = _flat(_defaults(group, str(node.get("name", "default")), config))
        for key, value in _flat({key: value for key, value in node.items() if key not in OF_THE_CODE}).items():
            added = key not in defaults
            if value == (None if added else defaults[key]):
                continue
            try:
                words.append(f"{'++' * added}{_key(group, key)}={_word(value)}")
            except ValueError as error:
                log.warning("left out of a suggested command, for no override can say it: %s.%s, %s", group, key, error)
    return [shlex.quote(text) for text in words]


def _node(tree: Mapping[str, Any], key: str) -> dict[str, Any]:
    node = tree.get(key)
    return node if isinstance(node, dict) else {}


def _defaults(group: str, name: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """The yaml of a group, with those it builds on, and `${…}` read from the config; nothing where there is none."""
    root = OmegaConf.create({**config, group: OmegaConf.merge(SCHEMA.get(group, {}), _yaml(group, name))})
    defaults: Any = OmegaConf.to_container(root[group], resolve=True)
    return defaults


def is_shipped(group: str, name: str) -> bool:
    """Whether a yaml of this package has the name; one from a contributor's folder needs `--config-dir`."""
    return any((folder / group / f"{name}.yaml").is_file() for folder in CONF)


@cache
def _yaml(group: str, name: str) -> Any:
    if not NAME.fullmatch(name):
        return OmegaConf.create({})
    for folder in CONF:
        if (file := folder / group / f"{name}.yaml").is_file():
            own: Any = OmegaConf.load(file)
            names = [below for below in own.pop("defaults", []) if isinstance(below, str) and below != "_self_"]
            return OmegaConf.merge(*(_yaml(group, below) for below in names), own)
    return OmegaConf.create({})


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat


def _key(group: str, key: str) -> str:
    if not KEY.fullmatch(key):
        raise ValueError("a key of other characters")
    return f"{group}.{key}"


def _word(value: Any) -> str:
    return value if isinstance(value, str) and PLAIN.fullmatch(value) else _value(value)


def _value(value: Any) -> str:
    """As Hydra's grammar of overrides writes it: JSON, but for strings, keys and infinity."""
    if isinstance(value, str):
        return _quote(value)
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, dict):
        if not all(PLAIN.fullmatch(key) and KEY.fullmatch(key) for key in value):
            raise ValueError(f"a dict with the keys {', '.join(map(repr, value))}")
        return f"{{{', '.join(f'{key}: {_value(item)}' for key, item in value.items())}}}"
    if isinstance(value, float) and math.isinf(value):
        return str(value)
    return json.dumps(value)


def _quote(value: str) -> str:
    """A backslash is one as it stands, except before a quote."""
    if "${" in value or value == "???" or "\0" in value:  # to OmegaConf a reference, and nothing; to a shell the end
        raise ValueError(f"the text {value!r}")
    doubled = re.sub(r'\\+(?="|\Z)', r"\g<0>\g<0>", value)
    return '"' + doubled.replace('"', '\\"') + '"'
