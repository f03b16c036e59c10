"""The estimate of a sweep's end counts what other processes finish."""

import pytest

from lorabench.terminal import progress


@pytest.mark.parametrize(("finished", "left"), [(4, "2s, 3m00s left)"), (8, "2s, 20s left)"), (10, "(2s)")])
def test_time_left_follows_all_finished_cells(monkeypatch, capsys, finished, left):
    now, count = 0.0, 2
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    shown = progress.Progress()
    shown.sweep(10, finished=lambda: count)
    now, count = 60.0, finished
    scores = {split: {"mean": 0.5} for split in ("validation", "test")}
    record = {"status": "complete", "metrics": scores, "training": {"seconds": 1}, "evaluation": {"seconds": 1}}
    shown.cell_done("x", record, fresh=True)
    assert left in capsys.readouterr().err
