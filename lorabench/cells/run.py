"""One cell from config to record: data → trained → answered → scored → record."""

import json
import os
import shlex
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lorabench.cells.answers import Row, kept_rows, write_completions
from lorabench.cells.cell import Cell
from lorabench.cells.checks import check, check_output
from lorabench.cells.limited.duration import seconds
from lorabench.cells.limited.parent import CellProcess
from lorabench.cells.scores import score_record, validation_metric, zero
from lorabench.cells.stages import answer_cell, prepare_data, train_cell
from lorabench.cells.untouched import untouched_scores
from lorabench.contributed import config_dir_flag, reason
from lorabench.errors import FULL, Busy, Failed, UserError
from lorabench.files import finite, remove_leftovers, sync, write_json
from lorabench.models.fingerprint import fingerprint
from lorabench.provenance import device_state, git_state, model_state, now, scored_now, versions
from lorabench.records import holding
from lorabench.records.card import write_card
from lorabench.records.form import SCHEMA_VERSION, check_record
from lorabench.records.holding import held, holder
from lorabench.records.kept import check_pending, read_or_set_aside, set_aside
from lorabench.terminal import signals
from lorabench.terminal.bars import note
from lorabench.terminal.progress import SWEEP
from lorabench.trackers.following import Following, following
from lorabench.training.checkpoint import Checkpoint, Unusable
from lorabench.training.seed import deterministic

Record = dict[str, Any]

ANEW = "and the cell begins anew"
"""Without a damaged file."""


def run(cell: Cell) -> float:
    """Return the validation score of a cell, trained unless its record is there.

    Raises:
        UserError: something that the user can mend.
        Busy: another process holds the cell and ``when_busy`` is ``defer``.
    """
    check_output(cell.settings.output_dir)
    check(cell)
    limit = seconds(cell.settings.cell_timeout)
    record, fresh = finished(cell) if limit is None else _finished_in_time(cell, limit)
    _tell(cell, record, fresh)
    return record["validation_metric"]["value"]


def finished(cell: Cell, begins: Callable[[], None] = lambda: None) -> tuple[Record, bool]:
    """The record of a cell, and whether it was trained now.

    Args:
        cell: to be trained unless its record is there.
        begins: called when no other process holds the cell.

    Raises:
        UserError: something that the user can mend.
        Busy: another process holds the cell and ``when_busy`` is ``defer``.
        Failed: another worker of this sweep has tried it.
    """
    folder = cell.folder
    if folder.exists() and not folder.is_dir():
        set_aside(folder, f"{folder} is no folder", ANEW)
    if not folder.is_dir():
        folder.mkdir(exist_ok=True)
        sync(folder)
    lock = folder / "lock"
    with held(lock, str(cell), wait=cell.settings.when_busy == "wait") as free:
        if not free:
            if cell.session.seconds_since(str(folder)) > holding.PATIENCE:
                cell.session.note_once(f"{cell} is come back to: {holder(lock)}")
            raise Busy(f"{cell} is being trained by another process")
        begins()
        remove_leftovers(folder)
        read_or_set_aside(folder / "record.json", lambda record: check_record(record, folder.name), ANEW)
        if (record := cell.record()) is not None:
            Finish.remove_steps(folder)
            return record, False
        if (error := cell.failure_in(os.environ.get(SWEEP))) is not None:
            raise Failed(error)
        with following(cell.session.tracker(cell.settings.tracker), cell.tracked) as follower:
            return Finish(cell, follower).record(), True


def _finished_in_time(cell: Cell, limit: float) -> tuple[Record, bool]:
    """As ``finished``, by a process of its own, which is ended after ``limit`` seconds with the cell."""
    if (record := cell.record()) is not None:
        return record, False
    outcome = cell.session.kept("process of cells", CellProcess).outcome(cell.config, limit)
    if (record := cell.record()) is not None:  # also of one that was written in the last moment
        return record, outcome.fresh or outcome.state != "finished"
    if outcome.state in (errors := {"mistake": UserError, "busy": Busy, "failed": Failed}):
        raise errors[outcome.state](outcome.text)
    text = f"took longer than cell_timeout={cell.settings.cell_timeout}" if outcome.state == "late" else outcome.text
    with held(cell.folder / "lock", str(cell), wait=False) as free:
        if free:
            _write(cell.folder / "record.json", _failure(_new_record(cell), text, None))
    raise Failed(text)


def finished_before(cell: Cell) -> float | None:
    """What ``run`` returns, of a cell that has its record; None of one that is to be trained. The cell's checks are not made.

    Raises:
        UserError: a newer lorabench wrote the record.
    """
    record = cell.record()
    if record is None:
        return None
    if any(cell.folder.glob("*.tmp")) or any((cell.folder / name).exists() for name in Finish.STEPS):
        with held(cell.folder / "lock", str(cell), wait=False) as free:
            if free:
                remove_leftovers(cell.folder)
                Finish.remove_steps(cell.folder)
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


class Finish:
    """What is left to be done of a cell until its record is written.

    ``pending.json`` holds what is known between generation and scoring: a cell whose scorer stopped (a judge that is down,
    say) goes on from its completions, with the present settings of its scorer (another ``task.judge_url``, say).
    """

    STEPS = ("pending.json", "checkpoint.pt")

    def __init__(self, cell: Cell, follower: Following):
        self.cell, self.follower = cell, follower
        self.file, self.completions = (cell.folder / name for name in ("record.json", "completions.jsonl.gz"))
        self.pending, checkpoint = (cell.folder / name for name in self.STEPS)
        self.checkpoint = Checkpoint(checkpoint, cell.trainer.checkpoint_minutes)

    @classmethod
    def remove_steps(cls, folder: Path) -> None:
        """Remove what a finished cell needs no more, also where a kill came between its record and this."""
        for name in cls.STEPS:
            if not (folder / name).is_dir():
                (folder / name).unlink(missing_ok=True)

    def record(self) -> Record:
        """Do it and return the record, which is written also when it fails."""
        self._check_readable()
        rows: list[Row] | None = None
        record = read_or_set_aside(self.pending, lambda record: check_pending(record, self.cell.folder.name), ANEW)
        if record is not None:
            rows = kept_rows(self.completions, self.cell.task, self.cell.splits, ANEW)
        try:
            if record is None or rows is None:
                record = _new_record(self.cell)
                with deterministic():  # training, and the answers of base and cell in this process (vLLM's is its own)
                    try:
                        rows = self._answer(record)
                    except Unusable:  # which has set its checkpoint aside, and left the base half changed
                        self.cell.session.forget_base()
                        record = _new_record(self.cell)
                        rows = self._answer(record)
            else:
                config = record["config"] | {"task": self.cell.config["task"]}
                record |= {"config": config} | _scored_apart(record)
            if rows is not None:
                self._score(record, rows)
        except (Exception, SystemExit) as error:
            self.cell.session.forget_base()  # a failure may have left it half changed
            traceback.clear_frames(error.__traceback__)  # they hold it
            if isinstance(error, OSError) and error.errno in FULL:  # no fault of the cell
                raise UserError(f"cannot write ({error.strerror}); make room, and the same command goes on") from error
            if not isinstance(error, UserError):
                record = _failure(record or _new_record(self.cell), reason(error), traceback.format_exc())
                _write(self.file, record)
                self.follower.finish(record)
            if isinstance(error, SystemExit):  # of a method's own code that is no hook: the cells that follow go on
                raise RuntimeError(reason(error)) from error
            raise
        except KeyboardInterrupt:
            raise signals.Interrupted(f"{signals.cause()}; the same command {self._continuation()}") from None
        with signals.held_back():
            write_card(self.cell.folder, record)
            _write(self.file, record)
            self.remove_steps(self.cell.folder)
            self.follower.finish(record)
        return record

    def _check_readable(self) -> None:
        """A record that could not be read again would be made again and again."""
        try:
            check_record(json.loads(json.dumps(finite(_new_record(self.cell)))), self.cell.folder.name)
        except ValueError as error:
            raise UserError(f"{error}; give another value") from None

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
        record |= (
            _lowered(cell) | answered.extra | {"evaluation": {"seconds": answered.seconds, "merged": trained.adapted is None}}
        )
        write_completions(self.completions, answered.rows)
        write_json(self.pending, record)
        return answered.rows

    def _score(self, record: Record, rows: list[Row]) -> None:
        try:
            score_record(self.cell.task, rows, record, self.cell.splits)
        except UserError as error:
            command = f"python -m lorabench.evaluate rescore {shlex.quote(str(self.cell.folder))}{config_dir_flag()}"
            raise UserError(f"{error}; `{command}` scores this cell's completions without training") from error
        write_completions(self.completions, rows)


def _lowered(cell: Cell) -> Record:
    """What the record says of memory that ran out: the settings that the cell had instead of its own."""
    tokens = cell.trainer.micro_batch_tokens
    trainer = {} if tokens == cell.config["trainer"]["micro_batch_tokens"] else {"trainer.micro_batch_tokens": tokens}
    return {"lowered": lowered} if (lowered := trainer | cell.generator.lowered) else {}


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


def _failure(record: Record, error: str, trace: str | None) -> Record:
    failed = {"status": "failed", "metrics": None, "error": error, "traceback": trace}
    return record | failed | ({"sweep": os.environ[SWEEP]} if SWEEP in os.environ else {})


def _scored_apart(record: Record) -> Record:
    """What scores answers of before, where it is other code: a cell that was killed while it was scored is as any other."""
    scorer = scored_now()
    return {"rescored": scorer} if any(scorer[key] != record[key] for key in ("versions", "git")) else {}


def _write(file: Path, record: Record) -> None:
    record["finished"] = now()
    write_json(file, record)
