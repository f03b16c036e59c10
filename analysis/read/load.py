"""A folder of records → one DataFrame, one row a cell."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.errors import AnalysisError
from analysis.read.data_seeds import beside_fellows
from analysis.read.decisive import PART
from analysis.read.metrics import TEST, VALIDATION
from analysis.read.options import SETTING, separate
from analysis.read.published import is_published, read_published
from analysis.read.record import read_row
from analysis.read.scores import choice, label, show

log = logging.getLogger(__name__)


def load_records(
    directory: str | Path, proxies: bool = False, wide: bool = False, metric: str = TEST, select_by: str = VALIDATION
) -> pd.DataFrame:
    """Read every `directory/<id>/record.json`; a folder without one is an unfinished cell and is ignored.

    A folder of published cells (`read.published`) is read as well, alone or beside records.

    A record that cannot be trusted (half-written, malformed, of a newer schema) is left out with one warning line that
    names the file and the reason; `frame.attrs["skipped"]` counts them. Proxies (cells trained on a part of their samples,
    which have no test score) are left out with a line that counts them, unless `proxies`. With `wide` every option of a variant
    and a setting is a column of its own, too: `variant.alpha`, `trainer.warmup_ratio`.

    Another `metric` than a cell's own test score takes the place of it, and `select_by` that of the validation score
    (`read.scores.show`); settings are written with both, `frame.attrs["scores"]` has what a reader is told, and
    `frame.attrs["choice"]` by what cells are selected (`style.notes.Choice`).

    Returns:
        One row a cell with the columns of `read.record.read_row`, except that `options` (text, see
        `read.options`) stands for the two dicts of options. Failed cells have NaN scores.

    Raises:
        AnalysisError: if the directory does not exist or holds no record with a score, or none with the metric.
    """
    return load_together([directory], proxies, wide, metric, select_by)[0]


def load_together(
    directories: Sequence[str | Path],
    proxies: bool = False,
    wide: bool = False,
    metric: str = TEST,
    select_by: str = VALIDATION,
    as_one: bool = False,
) -> list[pd.DataFrame]:
    """As `load_records`, of several folders whose cells are to be matched.

    An option that differs within any of them is written out in all; one that differs only from folder to folder in none, but
    with `as_one`.
    """
    read = [_read(Path(directory), proxies, wide) for directory in directories]
    for number, (scored, _, _) in enumerate(read):
        for row in scored:
            row |= {"number": number, "folder": 0 if as_one else number}
    rows, notes = show([row for scored, _, _ in read for row in scored], metric, select_by)
    attrs = {"scores": notes, "metric": metric, "choice": choice(metric, select_by)}
    both = separate(rows)
    if words := label(metric, select_by):
        both["options"] = [", ".join(filter(None, [options, words])) for options in both["options"]]
    return [
        _frame(both[both["number"] == number].drop(columns=["folder", "number"]), failed, attrs | {"skipped": skipped})
        for number, (_, failed, skipped) in enumerate(read)
    ]


def _frame(cells: pd.DataFrame, failed: list[dict[str, Any]], attrs: dict[str, Any]) -> pd.DataFrame:
    # Failed cells take part in nothing but a count.
    frame = pd.concat([_without_duplicates(cells), pd.DataFrame(failed)], ignore_index=True)
    frame["train_samples"] = frame["train_samples"].astype("Int64")
    frame.attrs |= attrs
    return frame


def _read(directory: Path, proxies: bool, wide: bool) -> tuple[list[dict[str, Any]], list[dict[str, Any]], int]:
    """Rows with a score, failed rows, and how many records were skipped."""
    if not directory.is_dir():
        raise AnalysisError(f"{directory} is not a directory: pass the output_dir of a sweep (runs by default)")
    paths = sorted(directory.glob("*/record.json"))
    rows: list[dict[str, Any]] = read_published(directory) if is_published(directory) else []
    if not paths and not rows:
        raise AnalysisError(_why_nothing(directory))

    skipped = 0
    for path in paths:
        try:
            rows.append(read_row(path))
        except (OSError, ValueError) as error:
            log.warning("skipped %s: %s", path, error)
            skipped += 1
    if not rows:
        raise AnalysisError(f"no readable record in {directory} ({len(paths)} skipped, for the reasons above)")

    if not proxies and (count := sum(row["train_fraction"] < 1 for row in rows)):
        if count == len(rows):
            raise AnalysisError(f"{directory} holds proxies only (train_fraction < 1): see `python -m analysis proxy`")
        log.warning("left out proxies (train_fraction < 1): %d; `python -m analysis proxy` compares them", count)
        rows = [row for row in rows if row["train_fraction"] == 1]
    scored = beside_fellows([row for row in rows if row["status"] != "failed"])
    if wide:
        for row in scored:
            row |= _columns(row)
    if not scored:
        raise AnalysisError(
            f"no score in {directory}, cells that failed: {len(rows)}; see the error in {rows[0]['path']} and rerun"
        )

    failed = [row for row in rows if row["status"] == "failed"]
    if failed:
        log.warning("left out failed cells: %d, the error of the first is in %s", len(failed), failed[0]["path"])
    return scored, failed, skipped


def load_beside(directory: str | Path, published: Path | None, metric: str = TEST, select_by: str = VALIDATION) -> pd.DataFrame:
    """Own cells, and beside them the published ones of the same models and tasks, told apart by `source`.

    Args:
        directory: as of `load_records`.
        published: a folder of published cells, which have a test score alone; None: own cells alone.
        metric: as of `load_records`.
        select_by: as of `load_records`.

    Raises:
        AnalysisError: as of `load_records`, and if no published cell has a model and task of the own ones.
    """
    own = load_records(directory, metric=metric, select_by=select_by)
    if published is not None and metric != TEST:
        log.warning("left out published cells, which have no %s", metric)
    if published is None or metric != TEST:
        return own
    both = pd.concat([own, of_same_tasks(own, published)], ignore_index=True)
    both.attrs = dict(own.attrs)
    return both


def of_same_tasks(own: pd.DataFrame, published: Path) -> pd.DataFrame:
    """The published cells of the models and tasks of `own`, less those of a source that is among the own ones.

    Raises:
        AnalysisError: if there is none.
    """
    cells = load_records(published)
    names = {tuple(pair) for pair in own[["model", "task"]].to_numpy()}
    shared = cells[[pair in names for pair in zip(cells["model"], cells["task"], strict=True)]]
    shared = shared[~shared["source"].isin(set(own["source"]))]
    if shared.empty:
        tasks = ", ".join(sorted(f"{model} · {task}" for model, task in names))
        raise AnalysisError(f"{published} has no cell of {tasks} to show beside the own ones")
    return shared


def _columns(row: dict[str, Any]) -> dict[str, Any]:
    """Options as columns, numbers as numbers."""
    named = {f"variant.{key}": value for key, value in row.get("variant_options", {}).items()}
    columns: dict[str, Any] = {}
    for key, value in (named | row.get("setting_options", {})).items():
        try:
            columns[key] = float(value)
        except ValueError:
            columns[key] = value
    return {key: value for key, value in columns.items() if key not in row}


def _why_nothing(directory: Path) -> str:
    if (directory / "record.json").is_file():
        return f"{directory} is a single cell: pass the folder above it"
    folders = sum(path.is_dir() for path in directory.iterdir())
    return f"no record in {directory} (folders without a record.json: {folders}): run or resume the sweep first"


def _without_duplicates(frame: pd.DataFrame) -> pd.DataFrame:
    """Keep the newest of several records of one cell: counted twice, one seed would pass for two."""

    def instants(times: pd.Series) -> pd.Series:
        return pd.to_datetime(times, utc=True, format="ISO8601", errors="coerce")

    by_age = frame.sort_values("finished", kind="stable", key=instants, na_position="first")
    newest = by_age.drop_duplicates([*SETTING, *PART, "variant", "lr", "seed"], keep="last")
    older = frame.loc[frame.index.difference(newest.index), "path"]
    if len(older):
        log.warning("left out, for newer records of the same cells are used: %d, the first is %s", len(older), older.iloc[0])
    return newest.sort_index()
