"""The best of a sweep run again in full, for a search as for a grid."""

from pathlib import Path

import pytest
import yaml

from sweeps.sweepers.promotion import Promotion

ROOT = Path(__file__).resolve().parents[3]


def test_the_best_are_run_in_full_and_reported(app):
    done = app("hydra.sweeper.budget=9", "hydra.sweeper.promote=2")
    assert done.returncode == 0, done.stderr
    cheap, full = app.calls()[:9], app.calls()[9:]
    best = sorted(cheap, key=app.objective, reverse=True)[:2]
    assert full == [f"{call} whole" for call in best]
    assert f"promoted {best} {[app.objective(call) for call in best]}" in done.stdout
    promoted = app.results()["promoted_results"]
    for full_cell, call in zip(promoted, best, strict=True):
        rank, _, lr = map(float, call.split())
        assert full_cell["params"] == {"lr": lr, "rank": rank, "whole": "true"}
        assert full_cell["proxy"] == full_cell["score"] == pytest.approx(app.objective(call))


def test_a_grid_promotes_too_and_cells_without_a_score_never(app):
    done = app("lr=3e-4,1e-3", "rank=8,64", "hydra.sweeper.promote=3", method="grid")
    assert done.returncode == 0, done.stderr
    assert app.calls()[4:] == ["8 8 0.0003 whole", "8 8 0.001 whole"]  # rank 64 gives NaN


def test_a_failed_promotion_is_told(app):
    done = app("lr=3e-4,1e-3", "rank=8,16", "hydra.sweeper.promote=1", "hydra.sweeper.full=['lr=0.1']", method="grid")
    assert done.returncode != 0 and "failed: rank=8" in done.stderr.replace("lr=0.0003 ", "") and "too high" in done.stderr


def test_a_failed_promotion_leaves_the_report_of_the_others(app):
    done = app("hydra.sweeper.budget=2", "hydra.sweeper.promote=2", "lr=3e-4", "rank=8,16", "bad=8")
    assert done.returncode != 0 and "1 of 2 cells failed" in done.stderr
    assert "promoted ['8 8 0.0003', '16 8 0.0003']" in done.stdout
    assert [promoted["score"] for promoted in app.results()["promoted_results"]] == [
        None,
        pytest.approx(app.objective("16 8 3e-4")),
    ]


def test_a_configuration_is_promoted_once_with_all_its_seeds(app):
    done = app("lr=3e-4,1e-3", "rank=8", "seed=0,1", "hydra.sweeper.promote=1", method="grid")
    assert done.returncode == 0, done.stderr
    assert app.calls()[4:] == ["8 8 0.0003 whole"] * 2


@pytest.mark.parametrize("file", ["grid", "search"])
def test_proxies_of_one_full_cell_promote_it_once(file):
    shipped = yaml.safe_load((ROOT / "conf" / "hydra" / "sweeper" / f"{file}.yaml").read_text())
    promotion = Promotion(2, shipped["full"], shipped["average"])
    cells = [
        [f"lr={lr}", f"train_fraction={part}", f"subset={subset}", "+subset.extra=1"]
        for lr in (1, 2, 3)
        for part in (0.05, 0.1)
        for subset in ("random", "tsds")
    ]
    scores = [0.1, 0.2, 0.3, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.4, 0.4, 0.4]
    chosen = promotion.choose(cells, scores)
    assert [promoted.overrides for promoted in chosen] == [["lr=1", *shipped["full"]], ["lr=2", *shipped["full"]]]
    assert [promoted.proxy for promoted in chosen] == [0.9, 0.8]


def test_a_lucky_seed_is_not_promoted():
    cells = [[f"lr={lr}", f"seed={seed}", "rank=8"] for lr in (1, 2) for seed in (0, 1, 2)]
    scores = [0.1, 0.95, 0.1, 0.6, float("nan"), 0.7]
    chosen = Promotion(1, ["train_fraction=1"], ["seed"]).choose(cells, scores)
    assert [promoted.overrides for promoted in chosen] == [
        ["lr=2", f"seed={seed}", "rank=8", "train_fraction=1"] for seed in (0, 1, 2)
    ]
    assert [promoted.proxy for promoted in chosen] == pytest.approx([1.4 / 3] * 3)  # no score counts as the worst


def test_a_seed_is_not_lucky_by_the_failure_of_the_others():
    cells = [[f"lr={lr}", f"seed={seed}"] for lr in (1, 2, 3, 4) for seed in (0, 1, 2)]
    scores = [0.8, 0.8, 0.8, None, None, 0.95, None, None, None, 0.1, 0.2, 0.3]
    chosen = Promotion(4, [], ["seed"]).choose(cells, scores)
    assert [promoted.overrides[0] for promoted in chosen] == ["lr=1"] * 3 + ["lr=2"] * 3 + ["lr=4"] * 3


@pytest.mark.parametrize("method", ["random", "grid"])
def test_what_cannot_be_promoted_is_found_before_anything_runs(app, method):
    given = ["lr=3e-4,1e-3", "rank=8,16"] + ([] if method == "grid" else ["hydra.sweeper.budget=3"])
    for wrong, line in {
        ("hydra.sweeper.promote=1", "hydra.sweeper.full=['wole=true']"): "wole",
        ("hydra.sweeper.promote=1", "hydra.sweeper.average=[sed]"): "hydra.sweeper.average=sed is no key of the config",
        ("hydra.sweeper.promote=5",): f"hydra.sweeper.promote=5 is more than the {4 if method == 'grid' else 3} cells that it",
    }.items():
        done = app(*given, *wrong, method=method)
        assert done.returncode != 0 and line in done.stderr and app.calls() == []
