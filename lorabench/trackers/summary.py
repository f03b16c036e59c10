"""A record as the few numbers that one compares cells by."""

from typing import Any

TRAINING = ("steps", "tokens", "seconds", "tokens_per_second", "peak_memory_bytes", "trainable_parameters")


def summary(record: dict[str, Any]) -> dict[str, Any]:
    """A flat dict of what the record has: ``status``, scores in 0 … 1 and costs.

    ``test`` and ``validation`` are the means, ``test/SET`` and ``validation/SET`` those of their sets, ``base/test`` and
    ``base/validation`` the untouched base's; ``peak_lambda_max`` is the largest λmax that ``hessian.every`` met.
    """
    found: dict[str, Any] = {"status": record["status"], "error": record.get("error")}
    for split, scores in (record.get("metrics") or {}).items():
        found[split] = scores["mean"]
        found |= {f"{split}/{name}": one["score"] for name, one in scores["sets"].items()}
    found |= {f"base/{split}": (record.get("base") or {}).get(split) for split in ("validation", "test")}
    found |= {key: (record.get("training") or {}).get(key) for key in TRAINING}
    found["validation_loss"] = record.get("validation_loss")
    found["evaluation_seconds"] = (record.get("evaluation") or {}).get("seconds")
    measured = [block["lambda_max"] for row in record.get("sharpness") or [] for block in row["blocks"]]
    found["peak_lambda_max"] = max(measured, default=None)
    return {key: value for key, value in found.items() if value is not None}
