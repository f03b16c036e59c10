"""A record as the few entries that one compares cells by."""

from typing import Any

TRAINING = ("steps", "tokens", "seconds", "tokens_per_second", "peak_memory_bytes", "trainable_parameters")


def summary(record: dict[str, Any]) -> dict[str, Any]:
    """A flat dict of what the record has: ``status``, scores in 0 … 1 and costs.

    ``test`` and ``validation`` are the means, ``test/SET`` and ``validation/SET`` those of their sets, ``base/test`` and
    ``base/validation`` the untouched base's; ``peak_lambda_max`` is the largest λmax that a probe met.
    """
    entries: dict[str, Any] = {"status": record["status"], "error": record.get("error")}
    for split, scores in (record.get("metrics") or {}).items():
        entries[split] = scores["mean"]
        entries |= {f"{split}/{name}": of_set["score"] for name, of_set in scores["sets"].items()}
    entries |= {f"base/{split}": (record.get("base") or {}).get(split) for split in ("validation", "test")}
    entries |= {key: (record.get("training") or {}).get(key) for key in TRAINING}
    entries["validation_loss"] = record.get("validation_loss")
    entries["evaluation_seconds"] = (record.get("evaluation") or {}).get("seconds")
    blocks = [block for row in record.get("sharpness") or [] for block in row["blocks"]]
    measured = [block["lambda_max"] for block in blocks if "lambda_max" in block]
    entries["peak_lambda_max"] = max(measured, default=None)
    return {key: value for key, value in entries.items() if value is not None}
