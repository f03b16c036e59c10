"""How a setting is written: what all cells, or all Hessian blocks, of one table or panel have in common."""

from typing import Any

import pandas as pd

from analysis.style.notes import TUNED_ON_TEST


def model_and_task(setting: dict[str, Any]) -> str:
    """`tiny · arithmetic`; random weights are named, for their scores say nothing about the model."""
    weights = "" if setting["weights"] == "pretrained" else f" ({setting['weights']} weights)"
    return f"{setting['model']}{weights} · {setting['task']}"


def hyperparameters(setting: dict[str, Any]) -> str:
    """`rank 8 · batch size 16 · 2400 samples · 1 epoch`, with what else sets this setting apart.

    A key that is None, or missing, is left out; `train_samples` is NA for all samples.
    """
    axes = {"rank": "rank", "batch_size": "batch size"}
    parts = [f"{name} {setting[key]}" for key, name in axes.items() if setting.get(key)]
    if "train_samples" in setting and setting["train_samples"] is not None:
        samples = setting["train_samples"]
        parts.append("all samples" if pd.isna(samples) else f"{int(samples)} samples")
    if setting.get("epochs"):
        parts.append(f"{setting['epochs']:g} epoch{'' if setting['epochs'] == 1 else 's'}")
    source = f"{setting['source']} ({TUNED_ON_TEST})" if setting["source"] else ""
    return " · ".join([*parts, *filter(None, [setting["options"], source])])


def block_hyperparameters(setting: dict[str, Any]) -> str:
    """`rank 8 · 500 samples` of a setting of Hessian blocks, with what else sets it apart."""
    parts = [f"rank {setting['rank']}", f"{setting['samples']} samples", setting["options"]]
    return " · ".join(part for part in parts if part)


def sequences(blocks: pd.DataFrame) -> str:
    """`16 to 64 sequences`, or nothing where all blocks are of the same number."""
    low, high = blocks["sequences"].min(), blocks["sequences"].max()
    return f"{low:g} to {high:g} sequences" if low < high else ""
