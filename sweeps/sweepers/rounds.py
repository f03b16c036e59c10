"""Cells launched as Hydra jobs, round after round."""

import sys
import time
from collections.abc import Sequence

from hydra.core.utils import JobReturn, JobStatus
from hydra.errors import HydraException
from hydra.plugins.launcher import Launcher
from omegaconf.errors import OmegaConfBaseException

from sweeps.sweepers.jobs import reason, retry_later

PAUSE = 5.0
"""Seconds between two tries of jobs that all ask for a later one."""


class Rounds:
    """Launches the cells of a sweep; jobs are numbered on from round to round.

    Args:
        launcher: Hydra's.
        first_pass: overrides of a round's first launch. Jobs that then ask for a later try (``jobs.retry_later``) are launched
            again until one is left, which is launched without these; of a launcher with processes of its own, all at once.
    """

    def __init__(self, launcher: Launcher, first_pass: Sequence[str]) -> None:
        self._launcher, self._first_pass = launcher, first_pass
        self._launched = 0

    @property
    def one_by_one(self) -> bool:
        """Whether the launcher runs the jobs of a round one after another."""
        return type(self._launcher).__name__ == "BasicLauncher"

    def run(self, cells: Sequence[Sequence[str]], values: Sequence[float | None] = ()) -> list[JobReturn]:
        """Launch the cells, given by their overrides, and wait for them all; a job for each.

        Args:
            cells: of the round.
            values: of the cells, where some are at hand and need no launch.
        """
        jobs = [JobReturn(overrides=cell, status=JobStatus.COMPLETED) for cell in cells]
        for job, value in zip(jobs, values, strict=False):
            job.return_value = value
        open_cells = [i for i in range(len(cells)) if not values or values[i] is None]
        self._replace(jobs, open_cells, [[*cells[i], *self._first_pass] for i in open_cells])
        again = [i for i in open_cells if retry_later(jobs[i])]
        while self.one_by_one and self._first_pass and len(again) > 1:  # whichever can be had first, so that none is waited for
            time.sleep(PAUSE)
            self._replace(jobs, again, [[*cells[i], *self._first_pass] for i in again])
            again = [i for i in again if retry_later(jobs[i])]
        self._replace(jobs, again, [cells[i] for i in again])
        return jobs

    def _replace(self, jobs: list[JobReturn], places: Sequence[int], cells: Sequence[Sequence[str]]) -> None:
        for i, job in zip(places, self._launch(cells), strict=True):
            jobs[i] = job

    def _launch(self, cells: Sequence[Sequence[str]]) -> list[JobReturn]:
        first = self._launched
        self._launched += len(cells)
        return self._numbered(cells, first)

    def _numbered(self, cells: Sequence[Sequence[str]], first: int) -> list[JobReturn]:
        """Run the cells, each alone if the launcher raises for all, as submitit does where one of its jobs was killed.

        Nothing is known of the others then. Those that are finished return at once; one that raises again has failed.
        """
        if not cells:
            return []
        try:
            return list(self._launcher.launch(cells, initial_job_idx=first))
        except (HydraException, OmegaConfBaseException):
            raise  # of the command, not of a job
        except Exception as error:
            dead = JobReturn(overrides=cells[0], status=JobStatus.FAILED)
            dead.return_value = error
        if len(cells) == 1:
            return [dead]
        print(f"the launcher stopped ({reason(dead)}): its {len(cells)} cells are launched one by one", file=sys.stderr)
        return [job for i, cell in enumerate(cells) for job in self._numbered([cell], first + i)]
