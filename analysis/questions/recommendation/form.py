"""Recommendations as JSON, which `lorabench tune` reads.

    {"margin": 0.01, "recommendations": [{
      "model": "tiny", "task": "arithmetic", "weights": "pretrained",
      "measured": "",                    # what sets it apart from others of this model and task: "task.fingerprint=sha256:1a…"
      "cells": {"complete": 273, "diverged": 0, "failed": 0, "unvalidated": 0},
      "configurations": {"tried": 91, "several_seeds": 91, "compared": 91},
      "recommended": CONFIGURATION and {
        "score": {"value": 0.865, "low": 0.8, "high": 0.92, "how": "problems and seeds"},
        "parameters": 78848},            # trained
      "untouched_better": false,         # on validation, than the recommended one: then nothing is to be trained
      "untouched": COMPARISON, "default": COMPARISON, "tuned_lora": COMPARISON, "runner_up": COMPARISON,
      "unknown": ["a sentence", …],
      "candidates": [CONFIGURATION, …]   # all, the best validation score first
    }, …]}

    CONFIGURATION = {"overrides": {"variant": "lora", "lr": 0.0002, "rank": 8, "variant.alpha": "16"},
                     "validation": 0.84, "seeds": [0, 1, 2], "diverged": 0, "records": ["runs/ID/record.json", …]}
    COMPARISON = {"overrides", "seeds", "records" of the other (not of the untouched model), "score": 0.80,
                  "difference": {"value": 0.06, "low": 0.01, "high": 0.11, "how": "paired", "seeds": 3, "problems": 400,
                                 "p_different": 0.03, "p_equivalent": 0.9},
                  "verdict": "different", "same": false}   # same: it is the recommended one

`recommended` is null where no validation score is above 0, a comparison where it was not made (default, tuned LoRA: see
`answer.Recommendation`), a number where it is not known. `overrides` always has variant, lr and rank; of the rest what varies
in the folder, and options of the variant that are not its yaml's. `key=value` is an override of `lorabench` as it stands.
Scores and differences are fractions, how is that of `stats.intervals` and of `comparisons.Comparison`, verdict "different",
"equivalent", "both" or "open". `configurations.tried` counts those of `--searched`, too, which are nowhere else.
"""

import json
import math
from collections.abc import Sequence
from typing import Any

from analysis.questions.recommendation.answer import Recommendation
from analysis.questions.recommendation.comparisons import Comparison
from analysis.questions.recommendation.configurations import Configuration, Group
from analysis.questions.recommendation.unknown import unknown


def as_json(recommendations: Sequence[Recommendation], margin: float) -> str:
    """The form above, indented."""
    tree = {"margin": margin, "recommendations": [_recommendation(one) for one in recommendations]}
    return json.dumps(_finite(tree), indent=1, ensure_ascii=False, allow_nan=False)


def _recommendation(answer: Recommendation) -> dict[str, Any]:
    group, chosen, gaps = answer.group, answer.chosen, answer.gaps
    rows = [row for one in group.configurations for row in one.rows]
    statuses = {status: sum(row["status"] == status for row in rows) for status in ("complete", "diverged")}
    recommended = None
    if chosen is not None:
        score = answer.score
        recommended = _configuration(group, chosen) | {
            "score": {"value": chosen.test, "low": score.low, "high": score.high, "how": score.how},
            "parameters": int(chosen.parameters) if math.isfinite(chosen.parameters) else None,
        }
    return {
        "model": group.model,
        "task": group.task,
        "weights": group.weights,
        "measured": group.measured,
        "cells": statuses | {"failed": group.failed, "unvalidated": group.unvalidated},
        "configurations": {
            "tried": len(group.tried),
            "several_seeds": sum(len(one.seeds) > 1 for one in group.configurations),
            "compared": len(gaps.pool) if gaps else 0,
        },
        "recommended": recommended,
        "untouched_better": answer.untouched_better,
        "untouched": _comparison(group, answer.untouched),
        "default": _comparison(group, answer.default),
        "tuned_lora": _comparison(group, answer.tuned),
        "runner_up": _comparison(group, answer.runner_up),
        "unknown": unknown(answer),
        "candidates": [_configuration(group, one) for one in answer.ranked],
    }


def _configuration(group: Group, one: Configuration) -> dict[str, Any]:
    return {
        "overrides": group.overrides(one),
        "validation": one.validation,
        "seeds": one.seeds,
        "diverged": one.diverged,
        "records": one.records,
    }


def _comparison(group: Group, comparison: Comparison | None) -> dict[str, Any] | None:
    if comparison is None:
        return None
    other = comparison.other
    about = {} if other is None else {"overrides": group.overrides(other), "seeds": other.seeds, "records": other.records}
    keys = ("value", "low", "high", "how", "seeds", "problems", "p_different", "p_equivalent")
    return about | {
        "score": comparison.score,
        "difference": {key: getattr(comparison, key) for key in keys},
        "verdict": comparison.verdict,
        "same": comparison.how == "same",
    }


def _finite(value: Any) -> Any:
    """What JSON has no number for is null."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
