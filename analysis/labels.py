"""How a learning rate, a score and a setting are written, in tables and figures alike."""

from __future__ import annotations

import math
from typing import Any


def format_lr(lr: float) -> str:
    """Four significant digits at most: 0.002 → `2e-3`, 0.00063246 → `6.325e-4`."""
    mantissa, exponent = f"{lr:.3e}".split("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"


def format_score(mean: float, std: float) -> str:
    """Fractions as percent, `95.25 ± 1.06`; without `± std` where one seed gives none (std NaN)."""
    return f"{100 * mean:.2f}" if math.isnan(std) else f"{100 * mean:.2f} ± {100 * std:.2f}"


def model_and_task(setting: dict[str, Any]) -> str:
    """`tiny · arithmetic`; random weights are named, for their scores say nothing about the model."""
    weights = "" if setting["weights"] == "pretrained" else f" ({setting['weights']} weights)"
    return f"{setting['model']}{weights} · {setting['task']}"


def hyperparameters(setting: dict[str, Any]) -> str:
    """`rank 8 · batch size 16 · 2400 samples · 1 epoch`, with what else sets this setting apart."""
    import pandas as pd

    samples = "all samples" if pd.isna(setting["train_samples"]) else f"{setting['train_samples']} samples"
    epochs = f"{setting['epochs']:g} epoch{'' if setting['epochs'] == 1 else 's'}"
    parts = [f"rank {setting['rank']}", f"batch size {setting['batch_size']}", samples, epochs]
    return " · ".join(parts + ([setting["options"]] if setting["options"] else []))
