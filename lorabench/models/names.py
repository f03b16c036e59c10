"""The name that a model goes by: that of its weights."""

import os
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from lorabench.annotations import is_blank
from lorabench.contributed import GIVEN
from lorabench.errors import UserError
from lorabench.schema import CONF, ModelConfig

DEFAULT = "tiny"
"""The model of a command that names none."""

STATED = ("model_type", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads")
"""What of an architecture a name stands for; a vocabulary may grow, and positions be stretched."""

SOURCES = ("hub", "revision", "package", "file")
"""Keys of where weights come from that a folder replaces."""

SNAPSHOT = re.compile(r"models--(?:[^/]+?--)?(?P<name>[^/]+)/snapshots/(?P<commit>[0-9a-f]{40})$")
"""The end of a folder in the hub's cache (huggingface_hub's docs, "Understand caching")."""


def named(model: dict[str, Any]) -> dict[str, Any]:
    """The config of a model whose weights come from elsewhere than its yaml says, by their own name and source alone.

    A folder or a hub id given without ``model=NAME`` stands on the default's yaml, whose name, package and shape do not hold.
    Where a yaml names a hub id or a package, a folder takes its place; the shape holds as long as the name is a yaml's.

    >>> made = named({"name": "tiny", "package": "lorabench", "architecture": {"model_type": "llama"}, "path": "/models/mine"})
    >>> made["name"], made["package"], made["architecture"]
    ('mine', None, {})

    Raises:
        UserError: a folder and a hub id that stands in no yaml.
    """
    path, hub = model.get("path"), model.get("hub")
    if not (path or hub) or is_blank(path) or is_blank(hub) or model.get("weights") == "random":
        return model
    if path and hub:
        _check_sources(model)
    if model.get("name") == DEFAULT:
        name = folder_name(Path(path)) if path else str(hub).rpartition("/")[2]
        model = model | {"name": name, "package": None, "file": None, "architecture": {}}
    if not path:
        return model
    shape = {} if _yaml(model.get("name")) is None else model.get("architecture")
    return model | dict.fromkeys(SOURCES) | {"architecture": shape}


def folder_name(folder: Path) -> str:
    """What a model in a folder is called: the folder's name; in the hub's cache, where that is a commit, the model's with it.

    >>> folder_name(Path("/cache/models--Qwen--Qwen3-0.6B/snapshots/0123456789abcdef0123456789abcdef01234567"))
    'Qwen3-0.6B@01234567'
    """
    resolved = Path(os.path.expanduser(folder)).resolve()  # leaves ~nobody as it is
    if snapshot := SNAPSHOT.search(resolved.as_posix()):
        return f"{snapshot['name']}@{snapshot['commit'][:8]}"
    return resolved.name


def check_name(spec: ModelConfig, config: Any) -> None:
    """Check that a checkpoint is of the architecture for which its name stands.

    Args:
        spec: of the model. What its name stands for is its ``architecture``; where it has none, since its folder alone names
            it, that of the yaml of this name. A name of no yaml is the user's own and stands for nothing.
        config: transformers' of the checkpoint.

    Raises:
        UserError: it is another one.
    """
    stated: Any = spec.architecture or (_yaml(spec.name) or {}).get("architecture")
    of_text = config.get_text_config()
    for key in STATED:
        present = config.model_type if key == "model_type" else getattr(of_text, key, None)
        if key in (stated or {}) and stated[key] != present:
            raise UserError(
                f"model={spec.name} has {key}={stated[key]}, but {spec.path or spec.hub or spec.package} holds a model with "
                f"{key}={present}; say what it is called, model.name=NAME, or give the folder of {spec.name}"
            )


def _check_sources(model: dict[str, Any]) -> None:
    """Raise UserError unless the hub id stands in a yaml, and the folder was given in its place."""
    name, path, hub = (model.get(key) for key in ("name", "path", "hub"))
    own = _yaml(name)
    yamls = [own] if own is not None else list(_yamls())
    if not any(content.get("hub") == hub and content.get("path") != path for content in yamls):
        raise UserError(
            f"model={name} has two sources, model.path={path} and model.hub={hub}; leave one of them out, or set it to null"
        )


def _yaml(name: Any) -> dict[str, Any] | None:
    """The yaml of this name as it stands, the user's own before the package's; None where there is none."""
    return next((content for content in _yamls() if content.get("name") == name), None)


def _yamls() -> Iterator[dict[str, Any]]:
    """All yamls of models: those beside ``--config-dir``, then those of the package."""
    own = os.environ.get(GIVEN)
    for folder in (*([Path(own)] if own else []), CONF):
        for file in sorted((folder / "model").glob("*.yaml")):
            yield _content(file, file.stat().st_mtime_ns)


@lru_cache(maxsize=64)
def _content(file: Path, changed: int) -> dict[str, Any]:
    """What a yaml holds; one that cannot be read is none of a model that Hydra could compose."""
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, OSError, UnicodeDecodeError):
        content = None
    return content if isinstance(content, dict) else {}
