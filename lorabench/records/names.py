"""What a record calls a cell's parts: a name that another choice has would put two things under one."""

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from lorabench.contributed import given_folder
from lorabench.errors import UserError
from lorabench.models.names import STATED
from lorabench.schema import CONF

GROUPS = ("model", "task", "variant", "evaluator", "subset")
"""Those that decide a result."""


def check_names(config: dict[str, Any], groups: Iterable[str] = GROUPS) -> None:
    """Check the names of a cell's parts.

    A yaml of a part's name says what that name stands for: a class, or of a model its shape. Where a folder holds the weights,
    ``models.names.check_name`` compares them with it.

    Args:
        config: resolved; a study of sharpness has not all groups.
        groups: to be checked.

    Raises:
        UserError: an empty name, or that of another part.
    """
    for group in groups:
        node = config.get(group)
        if not isinstance(node, dict):  # which other checks name
            continue
        name = node.get("name")
        if not isinstance(name, str):
            continue
        if not name.strip():
            raise UserError(f"{group}.name is empty; leave {group}.name= out, or write {group}.name=NAME")
        namesake = next((choices[name] for choices in _all_choices(group) if name in choices), None)
        if namesake is not None and not _is_alike(node, namesake):
            raise UserError(
                f"{group}.name={name} is the name of another {group}; write {group}={name} for that one, or give this one a "
                f"name of its own: {group}.name=NAME"
            )
        if group == "model" and namesake is not None:
            _check_origin(node, namesake)


def _check_origin(model: dict[str, Any], namesake: dict[str, Any]) -> None:
    """Raise UserError for weights of another hub id or package than the yaml of their name gives; a folder may hold a copy."""
    here, there = _origin(model), _origin(namesake)
    if model.get("path") or model.get("weights") == "random" or not here or not there or here == there:
        return
    name = model["name"]
    raise UserError(
        f"model={name} has its weights from {there}, and these are from {here}; leave model={name} out, or say what these are "
        "called, model.name=NAME"
    )


def _origin(model: dict[str, Any]) -> str:
    """Where weights come from, empty where that is not said; a revision is one of the same model."""
    return "/".join(str(model[key]) for key in ("hub", "package", "file") if model.get(key))


def _is_alike(node: dict[str, Any], namesake: dict[str, Any]) -> bool:
    """Whether a part can be what the yaml of its name describes; what that leaves open, or takes from another yaml, fits."""
    if "architecture" in node:
        stated, present = namesake.get("architecture") or {}, node["architecture"] or {}
        source = node.get("weights") != "random" and all(node.get(key) == namesake.get(key) for key in ("hub", "package"))
        shape = all(stated[key] == present[key] for key in STATED if key in stated and key in present)
        return bool(node.get("path")) or source or shape
    return namesake.get("_target_", node.get("_target_")) == node.get("_target_")


def _all_choices(group: str) -> list[dict[str, dict[str, Any]]]:
    """The user's own, then those of the package."""
    return [_choices(folder / group) for folder in (given_folder(), CONF) if folder is not None]


@cache
def _choices(folder: Path) -> dict[str, dict[str, Any]]:
    """The yamls of a folder by what they call themselves, else by their file's name; one that cannot be read is no choice."""
    choices = {}
    for file in sorted(folder.glob("*.yaml")):
        try:
            node = OmegaConf.to_container(OmegaConf.load(file))
        except (OmegaConfBaseException, YAMLError, ValueError, OSError):  # also what is not UTF-8
            continue
        if isinstance(node, dict):
            choices[str(node.get("name", file.stem))] = {str(key): entry for key, entry in node.items()}
    return choices
