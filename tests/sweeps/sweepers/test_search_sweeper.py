"""A search as a Hydra command."""

import ast
import json
from types import SimpleNamespace

import pytest

from sweeps.search.base import Search, untried
from sweeps.space import Space
from sweeps.sweepers.journal import Journal, held
from sweeps.sweepers.search import SearchSweeper

ECHO = "hydra.sweeper.method._target_=app.Echo"


def test_the_budget_is_spent_and_the_best_is_written(app):
    done = app("hydra.sweeper.budget=7")
    assert done.returncode == 0, done.stderr
    calls = app.calls()
    assert len(calls) == len(set(calls)) == 7
    results = app.results()
    trials = [json.loads(line) for line in (app.folder / results["journal"]).read_text().splitlines()[1:]]
    scores = [line["score"] for line in trials if "tell" in line]
    assert results["best_evaluated_result"] == max(scores)
    assert results["evaluations"] == 7 and results["failed"] == 0
    [overrides] = [line["overrides"] for line in trials if "ask" in line][results["evaluation"] - 1]
    assert {key: type(value) for key, value in results["best_evaluated_params"].items()} == {"lr": float, "rank": int}
    assert results["best_evaluated_params"] == {
        key: float(text) for key, text in (override.split("=") for override in overrides)
    }
    assert app.results("search/random-seed0.yaml") == results
    assert not list(app.folder.rglob("*.tmp"))
    assert done.stderr.count("[7/7]") == 1


@pytest.mark.parametrize("method", ["random", "tpe"])
def test_a_killed_search_goes_on_to_the_same_questions(app, method):
    if method == "tpe":
        pytest.importorskip("optuna", reason="pip install 'lorabench[search]' brings optuna")
    assert app("hydra.sweeper.budget=8", method=method).returncode == 0
    whole = app.calls()
    for name in ("calls.txt", f"out/search/{method}-seed0.jsonl"):
        (app.folder / name).unlink()
    assert app("hydra.sweeper.budget=8", method=method, env={"DIE_AT": "6"}).returncode == 9
    assert app("hydra.sweeper.budget=8", method=method).returncode == 0
    calls = app.calls()
    assert calls[:6] == whole[:6]  # the sixth was asked for and never answered: it is run again
    assert calls[6:] == whole[5:]


def test_a_larger_budget_goes_on(app):
    app("hydra.sweeper.budget=4")
    app("hydra.sweeper.budget=6")
    assert len(app.calls()) == len(set(app.calls())) == 6
    assert app("hydra.sweeper.budget=6").returncode == 0
    assert len(app.calls()) == 6


def test_methods_share_their_first_points_and_seeds_do_not(app):
    for module in ("optuna", "PyNomad"):
        pytest.importorskip(module, reason=f"pip install 'lorabench[search]' brings {module}")
    for method in ("tpe", "nomad", "random"):
        assert app("hydra.sweeper.budget=5", method=method).returncode == 0
    app("hydra.sweeper.budget=5", "hydra.sweeper.seed=1", method="nomad")
    calls = app.calls()
    assert calls[:5] == calls[5:10] == calls[10:15] != calls[15:]
    names = {file.name for file in (app.folder / "out" / "search").glob("*.yaml")}
    assert names == {"tpe-seed0.yaml", "nomad-seed0.yaml", "random-seed0.yaml", "nomad-seed1.yaml"}


def test_another_search_does_not_go_on_from_the_journal(app):
    once = ("hydra.sweeper.budget=2", ECHO, "alpha=9", "bad=5")
    assert app(*once).returncode == 0
    (app.folder / "text.txt").write_text("edited")
    assert "(fingerprint.text  instead of edited)" in app(*once).stderr
    (app.folder / "text.txt").unlink()
    assert "(config.bad 5 instead of 6)" in app(*once, "bad=6").stderr
    assert "(settings.extra None instead of 1)" in app(*once, "+hydra.sweeper.method.extra=1").stderr
    assert len(app.calls()) == 2
    other_order = app("hydra.sweeper.budget=3", "plan=false", "bad=5", "alpha=9", ECHO)
    assert other_order.returncode == 0, other_order.stderr
    assert len(app.calls()) == 3


def test_values_may_be_a_list(app):
    done = app("hydra.sweeper.budget=4", "hydra.sweeper.params={rank:[4,16],lr:[1e-4,3e-4]}")
    assert done.returncode == 0, done.stderr
    assert {call.split()[0] for call in app.calls()} == {"4", "16"}


def test_the_order_of_axes_on_the_command_line_makes_no_other_search(app):
    assert app("hydra.sweeper.budget=2", "bad=1,2", "alpha=4,8").returncode == 0
    assert app("hydra.sweeper.budget=3", "alpha=4,8", "bad=1,2").returncode == 0
    assert len(app.calls()) == 3


def test_a_second_process_on_a_journal_ends_with_one_line(app):
    with held(app.folder / "out" / "search" / "random-seed0.jsonl"):
        done = app("hydra.sweeper.budget=3")
    assert done.returncode != 0 and "belongs to a search that is running" in done.stderr
    assert app.calls() == []


def test_values_that_mean_another_config_make_another_search(app):
    """The space is the same; what a value stands for beyond its own key is not."""
    once = ("hydra.sweeper.budget=2", "bad=1,2", "alpha=4,8")
    assert app(*once, "seed=${bad}").returncode == 0
    done = app(*once, "seed=${alpha}")
    assert done.returncode != 0 and "is of another search (config of the values" in done.stderr, done.stderr
    assert len(app.calls()) == 2


def test_candidates_asked_for_together_enter_the_model_with_the_median(tmp_path):
    """Constant liar: the median of the scores told, failures apart."""
    space, seen = Space({"lr": ["1", "2", "3", "4", "5", "6", "7"]}), []

    class Spy(Search):
        def ask(self, history):
            seen.append([tuple(observation) for observation in history])
            return int(untried(space, history).argmax())

    journal = Journal(tmp_path / "spy.jsonl", space, {})
    for number, score in zip(journal.ask([0, 1, 2, 3]), (0.9, 0.1, None, 0.2), strict=True):
        journal.tell(number, score, "" if score else "it failed")
    sweeper = SimpleNamespace(parallel=3, budget=7)
    assert SearchSweeper._ask(sweeper, journal, Spy(space, 0), []) == [4, 5, 6]
    answered = [(0, 0.9), (1, 0.1), (2, None), (3, 0.2)]
    assert seen == [answered, [*answered, (4, 0.2)], [*answered, (4, 0.2), (5, 0.2)]]


def test_a_kill_within_a_batch_changes_no_question(app):
    batches = ("hydra.sweeper.budget=9", "hydra.sweeper.parallel=3", "hydra.sweeper.initial=2", ECHO)
    assert app(*batches).returncode == 0
    whole = app.calls()
    for name in ("calls.txt", "out/search/random-seed0.jsonl"):
        (app.folder / name).unlink()
    assert app(*batches, env={"DIE_ASKED": "4"}).returncode == 9  # the second question of the second batch
    assert app(*batches, env={"DIE_AT": "7"}).returncode == 9  # in the third batch
    assert app(*batches).returncode == 0
    calls = app.calls()
    assert calls[:7] == whole[:7] and calls[7:] == whole[6:]


def test_several_at_a_time(app):
    assert app("hydra.sweeper.budget=7", "hydra.sweeper.parallel=3").returncode == 0
    assert len(set(app.calls())) == 7


def test_a_derived_key_reaches_the_job_and_its_factor_does_not(app):
    override = "+hydra.sweeper.derived={alpha: rank * alpha_mult}".replace("+", "")
    done = app("alpha_mult=0.5,2", "rank=4,8", "lr=1e-3", "hydra.sweeper.budget=4", override)
    assert done.returncode == 0, done.stderr
    assert sorted(app.calls()) == sorted(["4 2 0.001", "4 8 0.001", "8 4 0.001", "8 16 0.001"])


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["lr=1e-3", "rank=8"], "nothing to search"),
        (["lr=interval(1e-5,1e-3)"], "lr: a search over listed candidates needs a list of values, not an interval"),
        (["hydra.sweeper.budget=26"], "hydra.sweeper.budget=26 is more than the 25 candidates"),
        (["hydra.sweeper.budget=0"], "hydra.sweeper.budget=0 must be a whole number of at least 1"),
        (["hydra.sweeper.budget=5", "hydra.sweeper.seed=-1"], "hydra.sweeper.seed=-1 must be a whole number of at least 0"),
        (["hydra.sweeper.budget=5", "hydra.sweeper.parallel=1.5"], "hydra.sweeper.parallel=1.5 must be a whole number"),
        (["hydra.sweeper.budget=5", "rank=range(1,1)"], "rank has no values to choose from: rank=range(1,1)"),
        (["hydra.sweeper.budget=5", "hydra.sweeper.journal=conf/config.yaml"], "must not end in .yaml"),
        (["hydra.sweeper.budget=5", "hydra.sweeper.max_failure_rate=2"], "max_failure_rate=2 must be a number between 0 and 1"),
        (["hydra.sweeper.design=halton"], "hydra.sweeper.design=halton is none of sobol, random"),
        (["alpha=4", "hydra.sweeper.derived={alpha: rank * lr}"], "alpha is both given and derived (rank * lr)"),
    ],
)
def test_bad_input_runs_nothing(app, overrides, line):
    done = app(*overrides)
    assert done.returncode != 0 and line in done.stderr.splitlines()[-1]
    assert app.calls() == []


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["rank=a,b", "hydra.sweeper.derived={alpha: rank * lr}"], "alpha is derived from rank, which is no axis of numbers"),
        (["alpha=4", "hydra.sweeper.derived={alpha: rank * lr}"], "alpha is both given and derived (rank * lr)"),
        (["hydra.sweeper.promote=1.5"], "hydra.sweeper.promote=1.5 must be a whole number of at least 0"),
    ],
)
def test_bad_input_of_a_grid_runs_nothing(app, overrides, line):
    done = app(*overrides, method="grid")
    assert done.returncode != 0 and line in done.stderr.splitlines()[-1]
    assert app.calls() == []


def test_what_a_method_lacks_is_told_before_anything_runs_and_a_plan_does_not_ask(app):
    done = app("hydra.sweeper.budget=5", ECHO, env={"MISSING": "1"})
    assert done.returncode != 0 and done.stderr.splitlines()[-1].endswith("no encoder")
    assert app.calls() == [] and not (app.folder / "out" / "search").exists()
    assert app("hydra.sweeper.budget=5", ECHO, "plan=true", env={"MISSING": "1"}).returncode == 0


def test_a_journal_of_another_space_is_refused_and_kept(app):
    app("hydra.sweeper.budget=3")
    [journal] = (app.folder / "out" / "search").glob("*.jsonl")
    before = journal.read_bytes()
    done = app("hydra.sweeper.budget=3", "rank=2,4,8")
    assert done.returncode != 0 and "is of another search (another space: rank)" in done.stderr
    assert journal.read_bytes() == before and len(app.calls()) == 3


def test_a_plan_asks_nothing(app):
    done = app("plan=true", "hydra.sweeper.budget=5")
    assert done.returncode == 0
    assert "random: 5 evaluations of 25 candidates (lr 5 × rank 5); checked are the 9 that show every value" in done.stderr
    checked = [line.split() for line in (app.folder / "checked.txt").read_text().splitlines()]
    assert len(checked) == 9 and {len(set(column)) for column in zip(*checked, strict=True)} == {5}
    assert app.calls() == [] and not (app.folder / "out" / "search").exists()


def test_a_plan_counts_the_budget_and_what_is_promoted(app):
    done = app("plan=true", "hydra.sweeper.budget=5", "hydra.sweeper.promote=2")
    expected = ast.literal_eval(done.stdout.removeprefix("expected "))
    assert len(expected) == len(set(expected)) == 7
    assert [cell.endswith("whole") for cell in expected] == [False] * 5 + [True] * 2
    assert ", then the best 2 in full" in done.stderr
