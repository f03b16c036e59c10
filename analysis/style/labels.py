"""How a learning rate, a score and a setting are written, in tables and figures alike."""

import math
from typing import Any

import pandas as pd


def format_lr(lr: float) -> str:
    """Four significant digits at most: 0.002 → `2e-3`, 0.00063246 → `6.325e-4`."""
    if math.isnan(lr):
        return "-"
    mantissa, exponent = f"{lr:.3e}".split("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"


def format_score(mean: float, std: float) -> str:
    """Fractions as percent, `95.25 ± 1.06`; without `± std` where one seed gives none (std NaN); `-` for no score."""
    if math.isnan(mean):
        return "-"
    return f"{100 * mean:.2f}" if math.isnan(std) else f"{100 * mean:.2f} ± {100 * std:.2f}"


def in_points(margin: float) -> str:
    """A fraction as `1 point`, `2.5 points`."""
    return f"{100 * margin:.6g} point{'' if math.isclose(margin, 0.01) else 's'}"


def model_and_task(setting: dict[str, Any]) -> str:
    """`tiny · arithmetic`; random weights are named, for their scores say nothing about the model."""
    weights = "" if setting["weights"] == "pretrained" else f" ({setting['weights']} weights)"
    return f"{setting['model']}{weights} · {setting['task']}"


def hyperparameters(setting: dict[str, Any]) -> str:
    """`rank 8 · batch size 16 · 2400 samples · 1 epoch`, with what else sets this setting apart.

    A key that is None, or missing, is left out; `train_samples` is NA for all samples.
    """
    parts = [f"{told} {setting[key]}" for key, told in {"rank": "rank", "batch_size": "batch size"}.items() if setting.get(key)]
    if "train_samples" in setting and setting["train_samples"] is not None:
        samples = setting["train_samples"]
        parts.append("all samples" if pd.isna(samples) else f"{int(samples)} samples")
    if setting.get("epochs"):
        parts.append(f"{setting['epochs']:g} epoch{'' if setting['epochs'] == 1 else 's'}")
    return " · ".join([*parts, *(part for part in (setting["options"], setting["source"]) if part)])
