"""A folder of block records, as `python -m hessian` leaves them → one DataFrame, one row a block."""

import json
import logging
from collections.abc import Iterator
from operator import itemgetter
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.errors import AnalysisError
from analysis.read.block import KIND, read_block
from analysis.read.options import write_out

log = logging.getLogger(__name__)

SETTING = ["model", "task", "rank", "samples", "weights", "options"]
"""Columns within whose common values variants are compared."""


def load_blocks(directory: str | Path) -> pd.DataFrame:
    """Read every `directory/*.json` of kind `KIND`; JSON of another kind is none of ours and ignored.

    A record that cannot be trusted is left out with one warning line, as are all but one of several of one block: a converged
    one is kept before others, then that of the smallest `hessian.tol`, then the newest.

    Returns:
        One row a block: `SETTING` (`samples` is text, for it may be "auto"; `weights` is "pretrained" or "random"; `options`
        is the checkpoint, if λ is not that of the start, and what else sets apart records that are alike in the other
        columns), `variant` (with the options in which it was measured more than once: `lora alpha=16`), `matrix`, `layer`
        (`JOINT` for a block of many matrices), `layers` of the model, `fingerprint` of its weights, `seed`, `sequences` that λ
        was measured on, `lambda_max`, `lambda_min`, `stderr` of `lambda_max` from the data, `ratio`, `ratio_low`, `ratio_high`
        (NaN where one of the two λ is not positive, or of another state than the start), `converged`, `growth` (λ of the final
        eigenvectors over the first n sequences: dicts of `sequences`, `value`, `low`, `high`), `checkpoint` (None: the start),
        `general` (whether its layer is no (W + s·BA)x), `tol`, `finished`, `file`.

    Raises:
        AnalysisError: if the directory does not exist or holds no readable record.
    """
    directory = Path(directory)
    if not directory.is_dir():
        raise AnalysisError(f"{directory} is not a directory: pass the output_dir of python -m hessian (default: runs/hessian)")
    rows, skipped = [], 0
    for path in sorted(directory.glob("*.json")):
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            if isinstance(record, dict) and record.get("kind") not in (None, KIND):
                continue
            rows.append(read_block(record) | {"file": str(path)})
        except (OSError, ValueError, RecursionError) as error:
            log.warning("skipped %s: %s", path, "nested too deeply" if isinstance(error, RecursionError) else error)
            skipped += 1
    if not rows:
        unreadable = f" ({skipped} unreadable, see above)" if skipped else ""
        raise AnalysisError(
            f"no record of a block in {directory}{unreadable}: run python -m hessian with this output_dir first"
        )
    write_out(rows, "setting_options", "options", itemgetter(*SETTING[:-1], "checkpoint"))
    for row in rows:
        trained = [f"checkpoint {Path(row['checkpoint']).name}"] if row["checkpoint"] else []
        row["options"] = ", ".join([*trained, *filter(None, [row["options"]])])
    write_out(rows, "variant_options", "suffix", itemgetter(*SETTING, "variant"))
    frame = pd.DataFrame(rows)
    frame["variant"] = (frame["variant"] + " " + frame["suffix"]).str.rstrip()
    block = [*SETTING, "variant", "matrix", "layer", "seed"]
    # Of several records of a block the most exact one: a short look with a few products does not replace what is known.
    order = frame.assign(coarse=-frame["tol"]).sort_values(
        ["converged", "coarse", "finished"], kind="stable", na_position="first"
    )
    best = frame.loc[order.index].drop_duplicates(block, keep="last")
    for file in frame.loc[frame.index.difference(best.index), "file"]:
        log.warning("left out %s: a more exact or newer record of the same block is used", file)
    return best.drop(columns=["setting_options", "variant_options", "suffix"]).sort_values(block).reset_index(drop=True)


def blocks_of(runs: Path, hessian: Path | None) -> tuple[pd.DataFrame | None, str]:
    """The blocks of the folder `hessian`, where one is named, else of `runs/hessian`; or None, and why there are none.

    Raises:
        AnalysisError: of `load_blocks`, for the folder named. Of the other, nobody's wish, it is a warning.
    """
    if hessian is not None:
        return load_blocks(hessian), ""
    if not any((runs / "hessian").glob("*.json")):
        return None, ""
    try:
        return load_blocks(runs / "hessian"), ""
    except AnalysisError as error:
        log.warning("no sharpness: %s", error)
        return None, "no record of RUNS/hessian can be read"


def block_settings(frame: pd.DataFrame) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    """Each setting, as `{column: value}`, with its blocks."""
    for key, blocks in frame.groupby(SETTING):
        yield dict(zip(SETTING, key, strict=True)), blocks
