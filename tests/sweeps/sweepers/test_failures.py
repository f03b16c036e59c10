"""Jobs that fail, are killed or give no number, and what a grid then keeps."""

import math

import numpy as np
import pytest
from hydra.core.utils import JobReturn, JobStatus

from sweeps.sweepers.jobs import no_answer, score


def test_failures_count_and_too_many_stop_the_search(app):
    done = app("hydra.sweeper.budget=10", "lr=1e-4,3e-4,1e-2", "rank=8,16,64,128", "hydra.sweeper.max_failure_rate=1")
    assert done.returncode == 0, done.stderr
    results = app.results()
    failing = [call for call in app.calls() if float(call.split()[2]) > 0.005 or call.startswith("64 ")]
    assert results["failed"] == len(failing) > 0 and results["evaluations"] == 10
    stopped = app("hydra.sweeper.budget=10", "lr=1e-2,2e-2,3e-2", "rank=2,4,8,16", "hydra.sweeper.journal=other.jsonl")
    assert stopped.returncode != 0 and "3 of 3 evaluations failed" in stopped.stderr and "too high" in stopped.stderr
    before = len(app.calls())
    again = app("hydra.sweeper.budget=10", "lr=1e-2,2e-2,3e-2", "rank=2,4,8,16", "hydra.sweeper.journal=other.jsonl")
    assert again.returncode != 0 and "3 of 3 evaluations failed" in again.stderr and len(app.calls()) == before
    assert "give another hydra.sweeper.journal (finished cells are not trained again)" in again.stderr.splitlines()[-1]
    more = app("hydra.sweeper.budget=4", "lr=1e-2,2e-2,3e-2", "rank=2,4,8,16", "hydra.sweeper.journal=more.jsonl")
    assert "1 of 1 evaluations failed" in more.stderr


@pytest.mark.parametrize(("kind", "value"), [("none", "None"), ("text", "'nan'"), ("truth", "True")])
def test_a_job_without_a_number_stops_the_search_at_once_and_its_candidate_stays_open(app, kind, value):
    done = app("hydra.sweeper.budget=6", "hydra.sweeper.parallel=2", f"kind={kind}")
    assert done.returncode != 0 and f"a job gave {value} for a score, not a number" in done.stderr.splitlines()[-1]
    assert len(app.calls()) == 2 and app.answers() == []


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.5, 0.5), (1, 1.0), (np.float32(0.5), 0.5), (np.int64(3), 3.0), (math.nan, None), (math.inf, None)],
)
def test_numbers_are_scores_and_what_is_not_finite_is_a_failure(value, expected):
    job = JobReturn(status=JobStatus.COMPLETED)
    job.return_value = value
    number, note = score(job)
    assert number == expected and (type(number) is float or "for a score, not a number" in note)
    assert no_answer(job) == ""


def test_a_job_that_is_to_be_tried_later_is_no_failure():
    error = RuntimeError("being trained by another process")
    error.retry_later = True
    job = JobReturn(status=JobStatus.FAILED)
    job.return_value = error
    assert no_answer(job).startswith("RuntimeError: being trained by another process: a search waits")


@pytest.mark.parametrize("parallel", [1, 3])
def test_a_killed_job_is_a_failure_and_the_search_goes_on(app, parallel):
    killing = ("hydra/launcher=killing", "lr=1e-4,3e-4,1e-3", "rank=4,8", "hydra.sweeper.max_failure_rate=0.5")
    done = app("hydra.sweeper.budget=6", f"hydra.sweeper.parallel={parallel}", *killing, env={"KILLED": "lr=0.0003"})
    assert done.returncode == 0, done.stderr
    assert app.results()["evaluations"] == 6 and app.results()["failed"] == 2
    assert [answer["note"] for answer in app.answers() if answer["status"] == "failed"] == [
        "RuntimeError: job 7 out of memory"
    ] * 2
    batches = [int(line) for line in (app.folder / "batches.txt").read_text().split()]
    assert batches == [1] * 6 if parallel == 1 else sorted(batches) in ([1] * 3 + [3] * 2, [1] * 6 + [3] * 2)


def test_an_interrupted_launcher_interrupts_the_search(app):
    killing = ("hydra/launcher=killing", "lr=1e-4,3e-4,1e-3", "rank=8", "hydra.sweeper.parallel=3")
    done = app("hydra.sweeper.budget=3", *killing, env={"KILLED": "lr=0.0003", "HOW": "interrupt"})
    assert done.returncode != 0 and app.answers() == []


def test_a_killed_job_fails_its_cell_of_a_grid_alone(app):
    done = app("hydra/launcher=killing", "lr=1e-4,3e-4", "rank=8,16", method="grid", env={"KILLED": "lr=0.0003"})
    assert done.returncode != 0 and "2 of 4 cells failed" in done.stderr.splitlines()[-1]
    lines = [line for line in done.stderr.splitlines() if line.startswith("failed: ")]
    assert lines == [f"failed: lr=0.0003 rank={rank}: RuntimeError: job 7 out of memory" for rank in (8, 16)]
    assert app.results()["evaluations"] == 4 and app.results()["failed"] == 2


def test_a_grid_leaves_its_best_in_the_same_form_as_a_search(app):
    done = app("lr=1e-5,3e-4,1e-3,1e-2", "rank=8,64", "bad=3", method="grid")
    assert done.returncode != 0 and "2 of 8 cells failed" in done.stderr
    assert app.results() == {
        "name": "grid",
        "best_evaluated_params": {"lr": 3e-4, "rank": 8},
        "best_evaluated_result": pytest.approx(app.objective("8 8 3e-4")),
        "evaluation": 3,
        "evaluations": 8,
        "failed": 5,  # two too high, three NaN
    }
    assert app("lr=3e-4,1e-3", "rank=16", "hydra.sweeper.promote=1", method="grid").returncode == 0
    [full] = app.results()["promoted_results"]
    assert full["params"] == {"lr": 3e-4, "rank": 16, "whole": "true"} and full["score"] == full["proxy"]


def test_a_grid_of_jobs_without_scores_has_no_best_and_promotes_none(app):
    done = app("lr=3e-4,1e-3", "rank=8", "kind=none", method="grid")
    assert done.returncode == 0 and not (app.folder / "out" / "optimization_results.yaml").exists()
    done = app("lr=3e-4,1e-3", "rank=8", "kind=none", "hydra.sweeper.promote=1", method="grid")
    assert done.returncode != 0 and "hydra.sweeper.promote=1: no cell gave a number" in done.stderr.splitlines()[-1]
