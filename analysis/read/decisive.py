"""What of a record decides its result, beside the sweep's axes: the options that keep cells apart.

A record says so itself, in its `identity`. Here it becomes flat text, the same for a cell of schema 1 and of schema 2: schema 1
wrote down what had its default, too, and had the version of tasks alone.
"""

import json
from typing import Any
from unicodedata import category

from analysis.read.form import get

AXES = ("lr", "batch_size", "rank", "seed", "train_samples", "epochs")
"""Top-level config keys that are axes of a sweep, besides the names of model, task and variant."""

PART = ("train_fraction", "subset")

OF_SCHEMA_1 = {"task.timeout_factor": "1.0"}
"""Defaults that schema 1 wrote down."""


def options(record: dict[str, Any]) -> dict[str, dict[str, str]]:
    """`variant_options` and `setting_options` of a record as flat dicts of text.

    Raises:
        ValueError: with a reason in one line, if they are not there.
    """
    identity = get(record, "identity", dict)
    variant, setting = dict(get(record, "identity.variant", dict)), dict(identity)
    evaluator, sampling = setting.pop("evaluator", None), setting.pop("sampling", None)
    if record["schema_version"] == 1:
        setting["task"] = _without(get(record, "identity.task", dict), ("rows",))
    else:
        variant = _with_version(variant)
        setting["task"] = {"version": 1} | _with_version(get(record, "identity.task", dict))
        trainer = get(record, "identity.trainer", dict)
        setting["trainer"] = {key: value for key, value in trainer.items() if (key, value) != ("version", 1)}
    if (stated := (record.get("config") or {}).get("data_seed")) is not None:  # the identity of seed=0 data_seed=0 has none
        setting["data_seed"] = stated
    setting["model"] = {"dtype": "auto"} | get(record, "identity.model", dict)
    flat = flat_options(setting, leave_out=(*AXES, "variant", *PART)) | _evaluator(evaluator, "evaluator")
    if isinstance(sampling, dict):  # of the samples, which are drawn at random by default
        flat |= {"sampling": str(sampling.get("name"))} | flat_options(
            _with_version(sampling), ("_target_", "name"), "sampling."
        )
    decisive = {key: value for key, value in flat.items() if value != "null" and OF_SCHEMA_1.get(key) != value}
    return {"variant_options": flat_options(variant, leave_out=("name",)), "setting_options": decisive}


def _with_version(part: dict[str, Any]) -> dict[str, Any]:
    """A part with the version or hash of its code in the place of those of all its classes; of version 1 nothing is said."""
    kept = {key: value for key, value in part.items() if key != "code"}
    code = part.get("code") or {}
    odd = {name: version for name, version in code.items() if version != 1}
    if not odd:
        return kept
    version = code[part["_target_"]] if set(odd) == {part.get("_target_")} else ", ".join(f"{n} {v}" for n, v in odd.items())
    return kept | {"version": version}


def _evaluator(node: Any, key: str) -> dict[str, str]:
    """`{"evaluator": "lm_eval", "evaluator.limit": "20", "evaluator.engine": "hf"}`: names stand for what they build."""
    if not isinstance(node, dict):  # schema 1 knew evaluators by name
        return {key: str(node)}
    node = _with_version(node)
    engine, window = node.get("engine"), None
    if isinstance(engine, dict) and "engine" in engine and "_target_" not in engine:  # and the length at which requests are cut
        engine, window = engine["engine"], engine.get("max_model_len")
    flat = {key: str(node.get("name"))} | flat_options(
        node, ("_target_", "name", "engine", "include", "include_path"), f"{key}."
    )
    included = node.get("include") or node.get("include_path")
    flat |= {f"{key}.include": included} if included else {}
    flat |= {f"{key}.engine.max_model_len": str(window)} if window is not None else {}
    return flat | (_evaluator(engine, f"{key}.engine") if engine is not None else {})


def _without(tree: dict[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    return {key: _without(value, keys) if isinstance(value, dict) else value for key, value in tree.items() if key not in keys}


def flat_options(tree: dict[str, Any], leave_out: tuple[str, ...] = (), prefix: str = "") -> dict[str, str]:
    """`{"a": {"b": 1}}` → `{"a.b": "1"}`, without the top-level keys in `leave_out`."""
    flat: dict[str, str] = {}
    for key, value in tree.items():
        if key in leave_out:
            continue
        if isinstance(value, dict):
            flat |= flat_options(value, prefix=f"{prefix}{key}.")
        else:
            flat[_in_a_line(prefix + key)] = _in_a_line(value) if isinstance(value, str) else json.dumps(value)
    return flat


def _in_a_line(text: str) -> str:
    """A text whose control characters (the line breaks of a prompt's template, say) stand as escapes."""
    return json.dumps(text, ensure_ascii=False)[1:-1] if any(category(character) == "Cc" for character in text) else text
