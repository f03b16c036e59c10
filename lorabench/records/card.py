"""The model card of a saved adapter: what it was trained on, how, how well it does, and how it is loaded."""

import json
import math
import re
from pathlib import Path
from typing import Any

ADAPTER, CHECKPOINT, MERGED = "adapter", "checkpoint", "merged weights"
"""What a cell's folder ``adapter`` may hold: PEFT's files, a whole model, or weights that replace some of the base."""

HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")

AXES = ("lr", "batch_size", "rank", "seed", "data_seed", "train_samples", "train_fraction", "epochs")


def kind_of(folder: Path) -> str | None:
    """What a folder holds, None where nothing was saved in it."""
    files = {"adapter_config.json": ADAPTER, "config.json": CHECKPOINT, "merged.safetensors": MERGED}
    return next((kind for name, kind in files.items() if (folder / name).is_file()), None)


def card(record: dict[str, Any], kind: str, place: str = "ADAPTER") -> str:
    """The text of README.md, in Markdown behind the hub's metadata. It names no file or folder of this machine.

    Args:
        record: of a finished cell.
        kind: of what was saved, see ``kind_of``.
        place: where it is loaded from: a hub id, or a word for the folder.
    """
    config, model = record["config"], record["model"]
    hub, variant, task = hub_of(record), config["variant"]["name"], config["task"]["name"]
    version = record["versions"].get("lorabench", "of a checkout")
    of_base = hub or ("a local model" if _is_local(record) else model["name"])
    return "\n".join(
        [
            *_metadata(hub, variant, kind),
            f"# {escaped(variant)} on {escaped(task)}: {kind} for {escaped(of_base)}",
            "",
            f"Trained and evaluated by lorabench {version}, cell {_code(record['id'])}.",
            "",
            "## Base model",
            "",
            _base(record, hub),
            "",
            "## Scores",
            "",
            *_scores(record),
            "",
            "## Settings",
            "",
            "| setting | value |",
            "|---|---|",
            *(f"| {_code(key.replace('|', ' '))} | {_text(value)} |" for key, value in _settings(config).items()),
            "",
            "## Use",
            "",
            "```python",
            *_use(record, hub, kind, place),
            "```",
            "",
        ]
    )


def write_card(folder: Path, record: dict[str, Any]) -> None:
    """Write the card of a finished cell into what it saved, in the place of the one that PEFT writes; nothing without."""
    saved = folder / "adapter"
    if record["status"] == "complete" and (kind := kind_of(saved)):
        (saved / "README.md").write_text(card(record, kind), encoding="utf-8")


def without_places(content: Any, hub: str | None) -> Any:
    """A config that PEFT or transformers wrote, whose base is named by its hub id, or not at all, and not by a place here."""
    if isinstance(content, dict):
        return {key: hub if key.endswith("name_or_path") else without_places(value, hub) for key, value in content.items()}
    if isinstance(content, list):
        return [without_places(value, hub) for value in content]
    here = isinstance(content, str) and len(content) > 1 and Path(content).is_absolute() and Path(content).exists()
    return None if here else content


def _metadata(hub: str | None, variant: str, kind: str) -> list[str]:
    lines = ["---"]
    if hub:
        lines += [
            f"base_model: {hub if HUB_ID.fullmatch(hub) else json.dumps(hub)}",
            f"base_model_relation: {'adapter' if kind == ADAPTER else 'finetune'}",
        ]
    library = "peft" if kind == ADAPTER else "transformers"
    return [*lines, f"library_name: {library}", "pipeline_tag: text-generation", "tags:", "- lorabench",
            f"- {json.dumps(variant)}", "---", ""]  # fmt: skip


def hub_of(record: dict[str, Any]) -> str | None:
    """The hub id of a cell's base, None where it has none."""
    model = record["config"]["model"]
    return None if model.get("weights") == "random" else model.get("hub") or None


def _is_local(record: dict[str, Any]) -> bool:
    return bool(record["config"]["model"].get("path"))


def _base(record: dict[str, Any], hub: str | None) -> str:
    model, spec = record["model"], record["config"]["model"]
    if hub and not _is_local(record):
        return f"{_link(hub)} at revision {_code(str(spec['revision']))}."
    if hub:
        return f"A local copy of {_link(hub)}, whose files have the fingerprint {_code(model['fingerprint'])}."
    if _is_local(record):
        return f"A local model, whose files have the fingerprint {_code(model['fingerprint'])}."
    if model.get("weights") == "random":
        shape = f"Random weights of the shape of {escaped(model['name'])}"
        return f"{shape}, fingerprint {_code(model['fingerprint'])}: for tests alone."
    package = _code(str(spec.get("package")))
    return f"{escaped(model['name'])}, of the Python package {package}, fingerprint {_code(model['fingerprint'])}."


def _link(hub: str) -> str:
    """To the hub, where that may have a model of the name."""
    return f"[{hub}](https://huggingface.co/{hub})" if HUB_ID.fullmatch(hub) else _code(hub)


def _scores(record: dict[str, Any]) -> list[str]:
    """A row a test set and split, in percent, with the number of problems, the standard error and the untouched base's mean."""
    lines = ["| split | set | score (%) | standard error | n | untouched base |", "|---|---|---:|---:|---:|---:|"]
    for split, scores in record["metrics"].items():
        base = (record.get("base") or {}).get(split)
        for name, of_set in scores["sets"].items():
            cells = [_percent(of_set["score"]), _percent(of_set.get("stderr")), escaped(str(of_set.get("n", "-")))]
            alone = _percent(base) if len(scores["sets"]) == 1 else ""
            lines.append(f"| {escaped(split)} | {escaped(name)} | {' | '.join(cells)} | {alone} |")
        if len(scores["sets"]) > 1:
            lines.append(f"| {escaped(split)} | mean of the sets | {_percent(scores['mean'])} | | | {_percent(base)} |")
    return lines


def _percent(share: float | None) -> str:
    return "-" if share is None or not math.isfinite(share) else f"{100 * share:.2f}"


def _settings(config: dict[str, Any]) -> dict[str, Any]:
    """What decides the result, without what names a place on this machine."""
    groups = {"variant": config["variant"], "trainer": config["trainer"], "subset": config.get("subset") or {}}
    chosen = {"task": config["task"]["name"]} | {key: config[key] for key in AXES if key in config}
    for group, node in groups.items():
        chosen |= {f"{group}.{key}": value for key, value in node.items() if key != "_target_"}
    return {key: value for key, value in chosen.items() if value is not None and not _names_a_place(value)}


def _names_a_place(value: Any) -> bool:
    """Whether a text, or one inside a setting, may be a path."""
    if isinstance(value, dict):
        return any(_names_a_place(entry) for entry in value.values())
    if isinstance(value, list | tuple):
        return any(_names_a_place(entry) for entry in value)
    return isinstance(value, str) and ("/" in value or "\\" in value or value.endswith(".json"))


def _text(value: Any) -> str:
    return escaped(value if isinstance(value, str) else json.dumps(value))


def _code(text: str) -> str:
    """A text in backticks, in one line."""
    return "`" + " ".join(text.splitlines()).replace("`", "'") + "`"


def escaped(text: str) -> str:
    """A text that Markdown shows as it is, in one line: no HTML, code, table cell, link or image begins or ends in it."""
    for sign, shown in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("`", "&#96;"), ("|", "\\|"), ("](", "]&#40;")):
        text = text.replace(sign, shown)
    return " ".join(text.splitlines())


def _use(record: dict[str, Any], hub: str | None, kind: str, place: str) -> list[str]:
    spec, dtype = record["config"]["model"], (record.get("device") or {}).get("dtype", "auto")
    if kind == CHECKPOINT:
        return [
            "from transformers import AutoModelForCausalLM, AutoTokenizer",
            "",
            f"model = AutoModelForCausalLM.from_pretrained({json.dumps(place)}, dtype={json.dumps(dtype)})",
            f"tokenizer = AutoTokenizer.from_pretrained({json.dumps(place)})",
        ]
    revision = f", revision={json.dumps(spec['revision'])}" if hub and spec.get("revision") and not _is_local(record) else ""
    source = f"{json.dumps(hub or 'BASE')}{revision}"
    remark = "" if hub else "  # BASE: the folder of the base model above"
    base = f"base = AutoModelForCausalLM.from_pretrained({source}, dtype={json.dumps(dtype)}){remark}"
    tokenizer = f"tokenizer = AutoTokenizer.from_pretrained({source})"
    if kind == ADAPTER:
        head = ["from peft import PeftModel", "from transformers import AutoModelForCausalLM, AutoTokenizer", ""]
        return [*head, base, tokenizer, f"model = PeftModel.from_pretrained(base, {json.dumps(place)})"]
    return [
        "from safetensors.torch import load_file",
        "from transformers import AutoModelForCausalLM, AutoTokenizer",
        "",
        base,
        tokenizer,
        'base.load_state_dict(load_file("merged.safetensors"), strict=False)  # no PEFT adapter holds them',
    ]
