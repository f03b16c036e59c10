"""One cell from config to record: data → trained → answered → scored → record."""

import shlex
import time
import traceback
from pathlib import Path
from typing import Any

from lorabench.cells.answers import Row, read_completions, write_completions
from lorabench.cells.cell import Cell
from lorabench.cells.checks import check, check_output
from lorabench.cells.scores import score, validation_metric, zero
from lorabench.cells.stages import answer_cell, prepare_data, train_cell
from lorabench.cells.untouched import untouched_scores
from lorabench.contributed import config_dir_flag, reason
from lorabench.errors import UserError
from lorabench.files import locked, read_json, remove_leftovers, write_json
from lorabench.models.fingerprint import fingerprint
from lorabench.provenance import device_state, git_state, model_state, now, scored_now, versions
from lorabench.records import SCHEMA_VERSION
from lorabench.records.card import write_card
from lorabench.terminal.bars import note
from lorabench.trackers.following import Following, following
from lorabench.training.checkpoint import Checkpoint
from lorabench.training.seed import deterministic

Record = dict[str, Any]


class Busy(Exception):
    """Another process is training this cell; a sweep comes back to it (``retry_later``)."""

    retry_later = True


def run(cell: Cell) -> float:
    """Return the validation score of a cell, trained unless its record is there.

    Raises:
        UserError: something that the user can mend.
        Busy: another process holds the cell and ``when_busy`` is ``defer``.
    """
    check_output(cell.settings.output_dir)
    check(cell)
    cell.folder.mkdir(exist_ok=True)
    with locked(cell.folder / "lock", wait=cell.settings.when_busy == "wait") as held:
        if not held:
            raise Busy(f"{cell} is being trained by another process")
        remove_leftovers(cell.folder)
        record, fresh = cell.record(), False
        if record is None:
            with following(cell.session.tracker(cell.settings.tracker), cell.tracked) as follower:
                record, fresh = Finish(cell, follower).record(), True
    _tell(cell, record, fresh)
    if record["status"] == "failed":
        raise RuntimeError(record["error"])
    return record["validation_metric"]["value"]


def finished_before(cell: Cell) -> float | None:
    """What ``run`` returns, of a cell that has its record; None of one that is to be trained. The cell's checks are not made.

    Raises:
        UserError: a file in the place of the record that is none.
    """
    record = cell.record()
    if record is None:
        return None
    with locked(cell.folder / "lock", wait=False) as held:
        if held:
            remove_leftovers(cell.folder)
    _tell(cell, record, fresh=False)
    return record["validation_metric"]["value"]


def _tell(cell: Cell, record: Record, fresh: bool) -> None:
    cell.session.progress.cell_done(str(cell), record, fresh)
    if not fresh:
        _note_what_is_missing(cell, record)


def _note_what_is_missing(cell: Cell, record: Record) -> None:
    """A finished cell is not trained again, also not for what leaves its result alone."""
    if cell.settings.save_adapter and not (cell.folder / "adapter").exists():
        note(f"{cell.folder} was finished without save_adapter; delete it to train the cell again and keep its adapter")
    if cell.probe.every is not None and (before := _probe_of(record["config"])) != cell.config["probe"]:
        how = "without a probe" if before is None else "with another probe"
        note(f"{cell.folder} was finished {how}; delete it to train the cell again with this one")


def _probe_of(config: dict[str, Any]) -> dict[str, Any] | None:
    """The probe of a record's config, which schema 1 had as ``hessian``; None of a cell that had none."""
    probe = config.get("probe") or {"name": "hessian"} | config.get("hessian", {})
    return None if probe.get("every") is None else probe


class Failed(Exception):
    """A cell of a sweep raised in a contributor's own file; its text is the whole line."""

    explains_itself = True


class Finish:
    """What is left to be done of a cell until its record is written.

    ``pending.json`` holds what is known between generation and scoring: a cell whose scorer stopped (a judge that is down,
    say) goes on from its completions, with the present settings of its scorer (another ``task.judge_url``, say).
    """

    def __init__(self, cell: Cell, follower: Following):
        self.cell, self.follower = cell, follower
        self.file, self.pending, self.completions = (
            cell.folder / name for name in ("record.json", "pending.json", "completions.jsonl.gz")
        )
        self.checkpoint = Checkpoint(cell.folder / "checkpoint.pt", cell.trainer.checkpoint_minutes)

    def record(self) -> Record:
        """Do it and return the record, which is written also when it fails."""
        record, rows = read_json(self.pending), read_completions(self.completions)
        try:
            if record is None or rows is None:
                record = _new_record(self.cell)
                with deterministic():  # training, and the answers of base and cell in this process (vLLM's is its own)
                    rows = self._answer(record)
            else:
                config = record["config"] | {"task": self.cell.config["task"]}
                record |= {"config": config, "rescored": scored_now()}
            if rows is not None:
                self._score(record, rows)
        except (Exception, SystemExit) as error:
            self.cell.session.forget_base()  # a failure may have left it half changed
            traceback.clear_frames(error.__traceback__)  # they hold it
            if not isinstance(error, UserError):
                record = _failure(record or _new_record(self.cell), error)
                _write(self.file, record)
                self.follower.finish(record)
            if isinstance(error, SystemExit):  # of a method's own code that is no hook: the cells that follow go on
                raise RuntimeError(reason(error)) from error
            raise
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"interrupted; the same command {self._continuation()}") from None
        write_card(self.cell.folder, record)
        _write(self.file, record)
        self.checkpoint.remove()
        self.pending.unlink(missing_ok=True)
        self.follower.finish(record)
        return record

    def _continuation(self) -> str:
        """What the same command will do, after an interruption."""
        if self.pending.exists():
            return f"scores the answers that are in {self.completions}"
        if self.checkpoint.file.exists():
            return f"goes on from {self.checkpoint.file}"
        minutes = self.checkpoint.seconds / 60
        return f"begins {self.cell} anew, which has no checkpoint yet (trainer.checkpoint_minutes={minutes:g})"

    def _answer(self, record: Record) -> list[Row] | None:
        """Train and generate; the record gets everything but the scores. None for a run that diverged, whose scores are 0."""
        cell, base = self.cell, self.cell.base()
        record["model"] = model_state(cell.model, fingerprint(cell.model)) | base.state
        record |= {key: names for key, names in cell.variant_config.items() if names != cell.config["variant"].get(key)}
        record["device"] = device_state(base.device, base.model.dtype)
        data = prepare_data(cell, base)
        record["base"] = untouched_scores(cell, base)
        trained = train_cell(cell, base, data, self.checkpoint, self.follower)
        record |= trained.entries()
        if trained.training.diverged:
            metrics = zero(cell.task, cell.splits)
            record |= {"status": "diverged", "metrics": metrics, "evaluation": {"seconds": 0.0}}
            record["validation_metric"] = validation_metric(cell.task, metrics)
            return None
        answered = answer_cell(cell, base, trained.merged, cell.splits, adapted=trained.adapted)
        if trained.release is not None:
            trained.release()
        record |= answered.extra | {"evaluation": {"seconds": answered.seconds, "merged": trained.adapted is None}}
        write_completions(self.completions, answered.rows)
        write_json(self.pending, record)
        return answered.rows

    def _score(self, record: Record, rows: list[Row]) -> None:
        try:
            score_cell(self.cell, record, rows)
        except UserError as error:
            command = f"python -m lorabench.evaluate rescore {shlex.quote(str(self.cell.folder))}{config_dir_flag()}"
            raise UserError(f"{error}; `{command}` scores this cell's completions without training") from error
        write_completions(self.completions, rows)


def score_cell(cell: Cell, record: Record, rows: list[Row]) -> None:
    """Score the completions of a cell into ``rows`` and its record."""
    started = time.perf_counter()
    record["metrics"] = score(cell.task, rows, record, cell.splits)
    record["evaluation"]["scoring_seconds"] = round(time.perf_counter() - started, 3)
    record["validation_metric"] = validation_metric(cell.task, record["metrics"])
    record["status"] = "complete"


def _new_record(cell: Cell) -> Record:
    return {
        "schema_version": SCHEMA_VERSION,
        "id": cell.id,
        "status": "failed",
        "config": cell.recorded_config,
        "identity": cell.identity,
        "metrics": None,
        "error": None,
        "versions": versions(),
        "git": git_state(),
        "data": {"fingerprint": cell.task.fingerprint(), "blank_rows": cell.task.blank_rows},
        "started": now(),
    }


def _failure(record: Record, error: BaseException) -> Record:
    return record | {"status": "failed", "metrics": None, "error": reason(error), "traceback": traceback.format_exc()}


def _write(file: Path, record: Record) -> None:
    record["finished"] = now()
    write_json(file, record)
