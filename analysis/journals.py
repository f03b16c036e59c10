"""Search journals, as the search sweepers leave them in `search/*.jsonl` → one row an evaluation."""

from __future__ import annotations

import json
import logging
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.errors import AnalysisError

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)


def load_journals(directory: str | Path) -> pd.DataFrame:
    """Read every `directory/*.jsonl` that is a journal of a search, or those of `directory/search`.

    Returns:
        One row an answered evaluation, in order: `method`, `seed`, `space` (its digest), `number` from 1, `score` (NaN where it
        failed), `best` so far (NaN before the first success) and `file`.

    Raises:
        AnalysisError: if there is none with an answer.
    """
    import pandas as pd

    directory = Path(directory)
    folder = directory / "search" if (directory / "search").is_dir() else directory
    rows: list[dict[str, Any]] = []
    for path in sorted(folder.glob("*.jsonl")):
        try:
            rows += _read(path)
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.warning("skipped %s: %s", path, error)
    if not rows:
        raise AnalysisError(f"no journal of a search with an answer in {folder}")
    return pd.DataFrame(rows)


def _read(path: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.endswith("}")]
    if not lines or "journal" not in lines[0]:
        return []
    search = lines[0]["search"]
    told = sorted((line["tell"], line.get("score")) for line in lines[1:] if "tell" in line)
    rows, best = [], math.nan
    for number, (_, score) in enumerate(told, 1):
        value = math.nan if score is None else float(score)
        best = value if math.isnan(best) else best if math.isnan(value) else max(best, value)
        row = {"method": str(search["method"]), "seed": int(search["seed"]), "space": str(lines[0]["space"])}
        rows.append(row | {"number": number, "score": value, "best": best, "file": str(path)})
    return rows
