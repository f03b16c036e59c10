"""Records of schema 1: where they lie, whether they can be trusted, and their configs in today's words."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lorabench.files import digest, folder_hash
from lorabench.records.shared import Shared
from lorabench.schema import Config

KNOBS = {"probe", "tracker", "output_dir", "device", "save_adapter", "plan", "plan_device", "cell_timeout", "when_busy"}
TASK_KNOBS = {"path", "files", "typical_tokens", "judge_url", "judge_key_env", "judge_parallel"}
TRAINER_KNOBS = {"micro_batch_tokens", "max_padding", "checkpoint_minutes", "gradient_checkpointing"}
MEASURES = ("tasks", "limit", "num_fewshot")
TASK_VERSIONS = {"arithmetic": 1, "chat": 1, "code": 2, "commonsense": 1, "instruct": 1, "math": 3}
"""Of the shipped tasks when schema 2 came; every other part had version 1."""

SAME = {"lorabench.tasks.base.Task": 2}
"""Later versions that change nothing by themselves: tasks that it splits otherwise have later versions, too."""


def legacy_identity(
    config: dict[str, Any], identity: dict[str, Any], model_fingerprint: str, shared: Shared | None = None
) -> dict[str, Any]:
    """What schema 1 took for the identity of a cell; its digest was the id.

    Args:
        config: of the cell, with every key.
        identity: of schema 2, which knows what the data are.
        model_fingerprint: see ``models.fingerprint.fingerprint_of_schema_1``.
        shared: by cells of the same grid.
    """
    once = (shared or Shared()).of
    task, trainer, evaluator = config["task"], config["trainer"], config["evaluator"]
    old = {key: value for key, value in config.items() if key in Config.__dataclass_fields__ and key not in KNOBS}
    if "data_seed" not in identity:
        del old["data_seed"]
    of_model = {"fingerprint": model_fingerprint, "dtype": config["model"]["dtype"]}
    old["model"] = once("model of schema 1", (config["model"],), lambda: of_model)
    old["task"] = once("task of schema 1", (task,), lambda: legacy_task(task, identity["task"]["fingerprint"]))
    kept = {key: value for key, value in trainer.items() if key not in TRAINER_KNOBS}
    old["trainer"] = once("trainer of schema 1", (trainer,), lambda: kept)
    old["evaluator"] = once("evaluator of schema 1", (evaluator,), lambda: _evaluator(evaluator))
    if config["train_fraction"] == 1:
        del old["train_fraction"]
        if "sampling" not in identity:
            del old["subset"]
    return old


def legacy_id(config: dict[str, Any], identity: dict[str, Any], model_fingerprint: str) -> str:
    """The id that schema 1 gave to a cell; for the arguments see ``legacy_identity``."""
    return digest(legacy_identity(config, identity, model_fingerprint))


def legacy_task(node: dict[str, Any], fingerprint: str) -> dict[str, Any]:
    """What schema 1 took of a task into the identity."""
    return without(node, TASK_KNOBS) | {"fingerprint": fingerprint, "version": TASK_VERSIONS.get(node["name"], 1)}


def changed_part(identity: dict[str, Any]) -> str | None:
    """The part whose code schema 1 did not know, or that has changed since; None where the id of schema 1 says enough."""
    for name in ("task", "variant", "evaluator", "subset", "sampling"):
        if name in identity and not _unchanged(identity[name]):
            return f"{name}={identity[name].get('name')}"
    if "dropout_version" in identity.get("trainer", {}):
        return "dropout"
    return next((name for name in ("trainer", "model") if identity.get(name, {}).get("version", 1) != 1), None)


def versions_of_then(identity: dict[str, Any]) -> dict[str, int | str]:
    """The versions that the code of a cell had when schema 2 came, as ``earlier.versions`` has those of now.

    What is told by its source, which schema 1 did not look at, has "untold".
    """
    then: dict[str, int | str] = {"model.version": 1, "trainer.version": 1}
    if "dropout_version" in identity["trainer"]:
        then["trainer.dropout_version"] = 1
    for part in parts(identity):
        for name, version in part["code"].items():
            then[name] = _versions(part)[name] if isinstance(version, int) else "untold"
    return then


def present_config(config: dict[str, Any]) -> dict[str, Any]:
    """The config of a record of schema 1 in today's words: tasks state their version in their class, probes are a group."""
    kept = {key: value for key, value in config.items() if key != "hessian"}
    kept["task"] = {key: value for key, value in config["task"].items() if key != "version"}
    return {"train_fraction": 1, "subset": None} | kept


def _unchanged(part: dict[str, Any]) -> bool:
    return all(each["code"] == _versions(each) for each in (part, *parts(part)))


def _versions(part: dict[str, Any]) -> dict[str, int]:
    """Of the code of a part when schema 2 came, or later ones that change nothing."""
    versions = {name: SAME.get(name, 1) for name in part["code"]}
    return versions | {part["_target_"]: TASK_VERSIONS.get(part.get("name", ""), 1)}


def parts(value: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The parts inside an identity or a part, at every depth."""
    for item in value.values():
        if isinstance(item, dict):
            if "code" in item:
                yield item
            yield from parts(item)


def _evaluator(node: dict[str, Any]) -> Any:
    if "engine" not in node:
        return node["name"]
    measures = {key: node[key] for key in MEASURES if key in node}
    if node.get("include_path"):
        measures["include"] = folder_hash(Path(node["include_path"]).expanduser())
    return measures | {"name": node["name"], "engine": _evaluator(node["engine"])}


def without(value: Any, names: set[str]) -> Any:
    """The value without the entries of these names, at every depth."""
    if isinstance(value, dict):
        return {key: without(item, names) for key, item in value.items() if key not in names}
    return value
