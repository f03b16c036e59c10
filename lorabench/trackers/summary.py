"""A record as the few numbers that one compares cells by."""

from typing import Any

TRAINING = ("steps", "tokens", "seconds", "tokens_per_second", "peak_memory_bytes", "trainable_parameters")


def summary(record: dict[str, Any]) -> dict[str, Any]:
    """A flat dict of what the record has: ``status``, scores in 0 … 1 and costs.

    ``test`` and ``validation`` are the means, ``test/SET`` and ``validation/SET`` those of their sets, ``base/test`` and
    ``base/validation`` the untouched base's; ``peak_lambda_max`` is the largest λmax that ``probe=hessian`` met.
    """
    numbers: dict[str, Any] = {"status": record["status"], "error": record.get("error")}
    for split, scores in (record.get("metrics") or {}).items():
        numbers[split] = scores["mean"]
        numbers |= {f"{split}/{name}": metric["score"] for name, metric in scores["sets"].items()}
    numbers |= {f"base/{split}": (record.get("base") or {}).get(split) for split in ("validation", "test")}
    numbers |= {key: (record.get("training") or {}).get(key) for key in TRAINING}
    numbers["validation_loss"] = record.get("validation_loss")
    numbers["evaluation_seconds"] = (record.get("evaluation") or {}).get("seconds")
    measured = [block["lambda_max"] for row in record.get("sharpness") or [] for block in row["blocks"]]
    numbers["peak_lambda_max"] = max(measured, default=None)
    return {key: value for key, value in numbers.items() if value is not None}
