"""What the papers found that is no cell: what others tune, how proxies correlate, how searches end."""

from pathlib import Path
from typing import Any

import pandas as pd

from analysis.errors import AnalysisError
from analysis.published import FOLDER

TUNED = ("tunes_lr", "tunes_batch_size", "compares_rank")
"""Columns of the audit, 0 or 1."""


def audit(path: Path = FOLDER / "audit.csv") -> pd.DataFrame:
    """Papers on LoRA variants and what they tune: one row a paper (arXiv 2602.04998, figure 2).

    Returns:
        `method`, `arxiv`, `published` (months), `venue`, and 0 or 1 for each of `TUNED`.

    Raises:
        AnalysisError: if there is no such file, or it is another table.
    """
    try:
        return pd.read_csv(path).astype(dict.fromkeys(TUNED, int))
    except OSError as error:
        raise AnalysisError(f"cannot read {path} ({error.strerror}): pass analysis/published") from None
    except (ValueError, KeyError) as error:
        raise AnalysisError(f"{path} is no table of papers and what they tune ({error}): pass analysis/published") from None


def proxy_correlations(path: Path = FOLDER / "proxy.csv") -> list[dict[str, Any]]:
    """Correlations of proxies with full training (arXiv 2602.11171): `subset`, `fraction`, and `corr_math` and `corr_code`."""
    return [{str(key): value for key, value in row.items()} for row in pd.read_csv(path).to_dict("records")]


def search_results(path: Path = FOLDER / "search.csv") -> list[dict[str, Any]]:
    """Results of paper 2 (arXiv 2602.11171): `table`, `method` and accuracies in percent (`mt_bench`: points)."""
    return [{str(key): value for key, value in row.items()} for row in pd.read_csv(path).to_dict("records")]
