"""What decides a cell's result, collected from the marks of the classes that its config builds (``lorabench.schema``)."""

from dataclasses import MISSING, fields, is_dataclass
from typing import Any

from omegaconf import MISSING as OPEN

from lorabench.annotations import target_of
from lorabench.records.code import code_of
from lorabench.records.shared import Shared
from lorabench.schema import Config, ModelConfig, TrainerConfig

HYDRAS = ("_target_", "_convert_", "_recursive_", "_partial_")
"""Keys of a node that are Hydra's own; positional ``_args_`` are settings."""


def identity(
    config: dict[str, Any], model_fingerprint: str, data_fingerprint: str, shared: Shared | None = None
) -> dict[str, Any]:
    """Everything that decides a cell's result: the config without knobs, the code of its parts, and what model and data are.

    Args:
        config: resolved, as composed by Hydra.
        model_fingerprint: see ``models.fingerprint``.
        data_fingerprint: see ``Task.fingerprint``.
        shared: by cells of the same grid.
    """
    shared = shared or Shared()
    once = shared.of
    kept: dict[str, Any] = {}
    for entry in shared.of_entries(decisive, config, lambda key, value: decisive({key: value}, Config)):
        kept |= entry
    if kept.get("data_seed") == kept["seed"]:  # as unset
        del kept["data_seed"]
    of_model = {"fingerprint": model_fingerprint, "version": ModelConfig.version}
    kept["model"] = once("model and version", (kept["model"],), lambda: kept["model"] | of_model)
    kept["trainer"] = once("trainer and version", (kept["trainer"], config["variant"]), lambda: _trainer(kept, config))
    kept["task"] = once("task and data", (kept["task"],), lambda: kept["task"] | {"fingerprint": data_fingerprint})
    if once("chooses samples", (config["subset"],), lambda: _chooses_samples(config["subset"])):
        kept["sampling"] = kept["subset"]
    if kept["train_fraction"] == 1:  # all of the samples are taken, whoever would choose among them
        del kept["subset"]
    return kept


def _trainer(kept: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    versions = {"version": TrainerConfig.version}
    if drops(config["variant"]):
        versions["dropout_version"] = TrainerConfig.dropout_version
    return kept["trainer"] | versions


def _chooses_samples(subset: dict[str, Any]) -> bool:
    return getattr(target_of(subset, "subset"), "chooses_samples", False)


def drops(node: Any) -> bool:
    """Whether a config, at any depth, states a dropout that is not 0."""
    return isinstance(node, dict) and any(("dropout" in key and value) or drops(value) for key, value in node.items())


def part_identity(node: dict[str, Any]) -> dict[str, Any]:
    """What a part of the config, such as a variant or a task, contributes: its settings without knobs, and its code.

    Raises:
        UserError: its ``_target_`` cannot be imported.
    """
    target = target_of(node, node.get("name", "a part"))
    kept = decisive({key: value for key, value in node.items() if key not in HYDRAS}, target)
    return {"_target_": node["_target_"], "code": code_of(target)} | kept


def decisive(values: dict[str, Any], cls: Any) -> dict[str, Any]:
    """Those of the values that decide a result, by the marks of the fields of ``cls``; what has no mark decides.

    A value that is the field's own default is left out, so that a field that comes later leaves the identities of before alone.
    """
    marks = {field.name: field for field in fields(cls)} if is_dataclass(cls) else {}
    kept: dict[str, Any] = {}
    for key, value in values.items():
        field = marks.get(key)
        mark = field.metadata.get("identity") if field else None
        if mark is False or (field and field.default not in (MISSING, OPEN) and value == field.default):
            continue
        value = mark(value) if callable(mark) else value
        if field and is_dataclass(field.type) and isinstance(value, dict):
            kept[key] = decisive(value, field.type)
        else:
            kept[key] = _with_parts(value)
    return kept


def _with_parts(value: Any) -> Any:
    """The value with the identity of a part in the place of each node that names a class."""
    if isinstance(value, dict):
        return part_identity(value) if "_target_" in value else {key: _with_parts(item) for key, item in value.items()}
    return [_with_parts(item) for item in value] if isinstance(value, list) else value
