"""What the end of a job means: a score, a failure, a later try, or no answer."""

import os
import shlex
import shutil
import sys
from collections.abc import Sequence

from hydra.core.utils import JobReturn, JobStatus

from sweeps.errors import SweepFailed
from sweeps.numbers import is_finite, is_number


def reason(job: JobReturn) -> str:
    """The exception of a failed job in one line: its first two, for submitit's says what happened on the second.

    Where its ``explains_itself`` is true, its text is the line.
    """
    # The public property raises a failed job's exception; here it is only to be told.
    error = job._return_value
    if getattr(error, "explains_itself", False):
        return str(error)
    return " ".join(f"{type(error).__name__}: {error}".splitlines()[:2])


def score(job: JobReturn) -> tuple[float | None, str]:
    """A job's score, or None and why; what is not finite is of a cell that went wrong."""
    if job.status != JobStatus.COMPLETED:
        return None, reason(job)
    if not is_finite(job.return_value):
        return None, f"the job gave {job.return_value!r} for a score, not a number"
    return float(job.return_value), ""


def retry_later(job: JobReturn) -> bool:
    """Whether the job asks to be launched again: its exception has a true ``retry_later``."""
    return job.status == JobStatus.FAILED and getattr(job._return_value, "retry_later", False)


def no_answer(job: JobReturn) -> str:
    """Why a job tells nothing of its candidate, which then stays open; empty if it tells."""
    if retry_later(job):
        return f"{reason(job)}: a search waits for what others train, so leave out when_busy=defer; the same command goes on"
    if job.status == JobStatus.COMPLETED and not is_number(job.return_value):
        return (
            f"a job gave {job.return_value!r} for a score, not a number: a search needs the metric as the job's value; the "
            "same command goes on once it has it"
        )
    return ""


def raise_failures(cells: Sequence[Sequence[str]], jobs: Sequence[JobReturn]) -> None:
    """Print a line for each cell whose job has failed.

    Raises:
        SweepFailed: one has.
    """
    failed = [i for i, job in enumerate(jobs) if job.status != JobStatus.COMPLETED]
    for i in failed:
        print(f"failed: {' '.join(cells[i])}: {reason(jobs[i])}", file=sys.stderr)
    if failed:
        raise SweepFailed(f"{len(failed)} of {len(cells)} cells failed; this command tries them alone again: {command()}")


def command() -> str:
    """The command of this process, as one types it; what is finished is not trained again by it.

    What it was started by says more than ``sys.argv``, to which words are added.
    """
    words = sys.orig_argv[1:]
    name = os.path.basename(words[0])
    place = shutil.which(name) if os.path.exists(words[0]) else None
    installed = place is not None and os.path.samefile(place, words[0])
    return shlex.join([name, *words[1:]] if installed else ["python", *words])
