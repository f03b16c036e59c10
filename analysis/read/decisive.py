"""What of a record decides its result, beside the sweep's axes: the options that keep cells apart."""

import json
from typing import Any

from analysis.read.checked import get

AXES = ("lr", "batch_size", "rank", "seed", "train_samples", "epochs")
"""Top-level config keys that are axes of a sweep, besides the names of model, task and variant."""

PART = ("train_fraction", "subset")

KNOBS = ("output_dir", "device", "save_adapter", "plan", "when_busy", "tracker", "hessian", "probe")
"""Top-level config keys that say where a cell ran, how it was watched and what it left, never what came out."""

OF_TASK = ("path", "files", "typical_tokens", "judge_url", "judge_key_env", "judge_parallel")
OF_TRAINER = ("micro_batch_tokens", "max_padding", "checkpoint_minutes")
OF_EVALUATOR = ("_target_", "batch_tokens", "kv_cache_gib", "gpu_memory_utilization", "enforce_eager")
"""The same of a group, at every depth."""


def options(record: dict[str, Any]) -> dict[str, dict[str, str]]:
    """`variant_options` and `setting_options` of a record as flat dicts of text, the same for both schemas.

    Schema 1 has them in its `identity`; of schema 2, whose identity only names a cell, they are its config without knobs, and
    what model and data are by their fingerprints. Of the evaluator the config counts in both.

    Raises:
        ValueError: with a reason in one line, if they are not there.
    """
    config = get(record, "config", dict)
    if record["schema_version"] == 1:
        variant = get(record, "identity.variant", dict)
        identity = get(record, "identity", dict)
        setting, evaluator = dict(identity), identity.get("evaluator")
        if isinstance(evaluator, dict) and "include" in evaluator:  # the hash of a folder, which the config has by its place
            setting["evaluator.include"] = evaluator["include"]
    else:
        variant = get(record, "config.variant", dict)
        setting = {key: value for key, value in config.items() if key not in KNOBS} | {
            "model": {
                "fingerprint": get(record, "model.fingerprint", str),
                "dtype": get(record, "config.model", dict).get("dtype", "auto"),
            },
            "task": _without(get(record, "config.task", dict), OF_TASK) | {"fingerprint": get(record, "data.fingerprint", str)},
            "trainer": _without(get(record, "config.trainer", dict), OF_TRAINER),
        }
    setting = flat_options(setting, leave_out=(*AXES, "variant", "evaluator", *PART))
    setting |= _evaluator(get(record, "config.evaluator", dict), "evaluator")
    return {"variant_options": flat_options(variant, leave_out=("name",)), "setting_options": setting}


def _without(tree: dict[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    return {key: _without(value, keys) if isinstance(value, dict) else value for key, value in tree.items() if key not in keys}


def _evaluator(node: dict[str, Any], key: str) -> dict[str, str]:
    """`{"evaluator": "lm_eval", "evaluator.limit": "20", "evaluator.engine": "hf"}`: names stand for what they build."""
    flat = {key: str(node.get("name"))} | flat_options(node, ("name", "engine", *OF_EVALUATOR), f"{key}.")
    return flat | (_evaluator(node["engine"], f"{key}.engine") if isinstance(node.get("engine"), dict) else {})


def flat_options(tree: dict[str, Any], leave_out: tuple[str, ...] = (), prefix: str = "") -> dict[str, str]:
    """`{"a": {"b": 1}}` → `{"a.b": "1"}`, without the top-level keys in `leave_out`."""
    flat: dict[str, str] = {}
    for key, value in tree.items():
        if key in leave_out:
            continue
        if isinstance(value, dict):
            flat |= flat_options(value, prefix=f"{prefix}{key}.")
        else:
            flat[prefix + key] = value if isinstance(value, str) else json.dumps(value)
    return flat
