"""The tests of one cell in two result sets: what they are by hand, and how often they err where nothing differs."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from analysis.questions.two_cells import by_means, by_problems
from analysis.read.metrics import read_metrics


@pytest.fixture
def cell(tmp_path):
    """`cell(sets)` writes a record of those test sets, {name: scores}, and returns its row."""
    count = iter(range(100_000))

    def cell(sets, completions=True, fingerprint="sha256:b", status="complete"):
        folder = tmp_path / str(next(count))
        folder.mkdir()
        scored = {name: {"score": float(np.mean(scores)), "n": len(scores)} for name, scores in sets.items()}
        test = float(np.mean([of_set["score"] for of_set in scored.values()])) if status == "complete" else 0.0
        metrics = {"test": {"mean": test, "sets": scored}} if status == "complete" else None
        path = folder / "record.json"
        path.write_text(json.dumps({"metrics": metrics}))
        if completions and status == "complete":
            write(folder, sets)
        return {"path": str(path), "test": test, "status": status, "task.fingerprint": fingerprint}

    return cell


def write(folder, sets):
    texts = {"prompt": "Q?", "completion": "4", "gold": "4"}
    lines = [
        json.dumps({"split": "test", "set": name, "id": str(i), "score": float(score)} | texts)
        for name, scores in sets.items()
        for i, score in enumerate(scores)
    ]
    (folder / "completions.jsonl.gz").write_bytes(gzip.compress("\n".join(lines).encode(), 1))


def right(n, of):
    return np.array([1.0] * n + [0.0] * (of - n))


def test_mcnemars_test_of_the_problems_that_changed(cell):
    before, after = right(20, 40), np.concatenate([right(19, 20), right(11, 20)])
    row = by_problems([cell({"a": before})], [cell({"a": after})])
    assert row["how"] == "mcnemar" and row["p"] == pytest.approx(stats.binomtest(11, 12).pvalue) and not row["same"]
    assert row["difference"] == pytest.approx(0.25) and row["seeds"] == 1


def test_proportions_where_there_are_no_completions(cell):
    row = by_problems([cell({"a": right(100, 200)}, False)], [cell({"a": right(130, 200)}, False)])
    z = 0.15 / np.sqrt(0.575 * 0.425 * 2 / 200)
    assert row["how"] == "proportions" and row["p"] == pytest.approx(2 * stats.norm.sf(z)) and not row["same"]


def test_the_mean_over_sets_has_the_variance_of_each(cell):
    a = cell({"a": right(40, 50), "b": right(300, 1000)}, False)
    b = cell({"a": right(35, 50), "b": right(350, 1000)}, False)
    row = by_problems([a], [b])
    variance = (0.75 * 0.25 * 2 / 50 + 0.325 * 0.675 * 2 / 1000) / 4
    assert row["p"] == pytest.approx(2 * stats.norm.sf(abs(row["difference"]) / np.sqrt(variance)))


def in_clusters(row, groups, stderr):
    """The row's record says that its problems are of so many groups, and what its clustered error is."""
    record = json.loads(Path(row["path"]).read_text())
    for of_set in record["metrics"]["test"]["sets"].values():
        of_set |= {"groups": groups, "stderr": stderr}
    Path(row["path"]).write_text(json.dumps(record))
    return row


@pytest.mark.parametrize(
    ("stderr", "independent"), [(np.sqrt(0.25 / 50), 50), (0.05, 80), (None, 80)], ids=["uneven", "apart", "unknown"]
)
def test_rows_of_one_problem_count_as_what_they_tell(cell, stderr, independent):
    """Never as more than their number of problems; as less where few problems have most of the rows."""
    near = in_clusters(cell({"a": right(80, 160)}, False), 80, stderr)
    far = in_clusters(cell({"a": right(104, 160)}, False), 80, None)
    row = by_problems([near], [far])
    pooled = (0.5 * independent + 0.65 * 80) / (independent + 80)
    error = np.sqrt(pooled * (1 - pooled) * (1 / independent + 1 / 80))
    assert row["how"] == "proportions" and row["p"] == pytest.approx(2 * stats.norm.sf(0.15 / error))


def test_seeds_without_completions_add_their_own_noise(cell):
    cells_a = [cell({"a": right(n, 200)}, False) for n in (100, 104, 98)]
    cells_b = [cell({"a": right(n, 200)}, False) for n in (140, 130, 150)]
    row = by_problems(cells_a, cells_b)
    pooled, d = np.mean([100, 104, 98, 140, 130, 150]) / 200, np.array([40, 26, 52]) / 200
    of_problems, of_seeds = pooled * (1 - pooled) * 2 / 200, d.var(ddof=1) / 3
    df = (of_problems + of_seeds) ** 2 / (of_seeds**2 / 2)
    assert row["how"] == "proportions" and row["seeds"] == 3
    assert row["p"] == pytest.approx(2 * stats.t.sf(d.mean() / np.sqrt(of_problems + of_seeds), df))


@pytest.mark.parametrize("seeds", [1, 2])
def test_completions_that_do_not_reproduce_a_score_are_not_paired(cell, seeds):
    """All files hold the same answers, but one record says otherwise."""
    cells_a = [cell({"a": right(10, 20)}) for _ in range(seeds)]
    cells_b = [cell({"a": right(10, 20)}) for _ in range(seeds - 1)] + [cell({"a": right(16, 20)}, False)]
    write(Path(cells_b[-1]["path"]).parent, {"a": right(10, 20)})
    row = by_problems(cells_a, cells_b)
    assert row["how"] == "proportions" and not row["same"] and row["p"] < 1


@pytest.mark.parametrize("scored", [{}, {"b": right(5, 20)}], ids=["none", "the other"])
def test_a_set_whose_answers_have_no_scores_yet_is_not_paired(cell, scored):
    cells = [cell({"a": right(n, 20), "b": right(5, 20)}) for n in (10, 15)]
    texts = {"split": "test", "set": "a", "id": "0", "prompt": "Q?", "completion": "4", "gold": "4", "score": None}
    for of_seed in cells:
        write(Path(of_seed["path"]).parent, scored)
        with gzip.open(Path(of_seed["path"]).with_name("completions.jsonl.gz"), "at") as file:
            file.write("\n" + json.dumps(texts))
    row = by_problems(cells[:1], cells[1:])
    assert row["how"] == "proportions" and not row["same"] and row["p"] < 1


def test_every_cell_reproduces_its_own_score(cell):
    """One record too high and one as much too low are right on average."""
    cells_a, cells_b = ([cell({"a": right(n, 20)}) for n in (8, 12)] for _ in range(2))
    assert by_problems(cells_a, cells_b)["how"] == "paired"
    cells_a[0]["test"], cells_a[1]["test"] = 0.5, 0.5
    assert by_problems(cells_a, cells_b)["how"] != "paired"


def test_graded_scores_are_paired_without_mcnemar(cell):
    generator = np.random.default_rng(0)
    before, after = generator.random(40), generator.random(40)
    row = by_problems([cell({"a": before})], [cell({"a": after})])
    assert row["how"] == "paired" and row["p"] == pytest.approx(stats.ttest_rel(after, before).pvalue)


def test_other_problems_are_not_paired(cell):
    """The problems that both have are the same, but not all of them are in both."""
    row = by_problems([cell({"a": np.ones(20)})], [cell({"a": np.ones(19)})])
    assert row["how"] == "proportions" and not row["same"] and row["p"] == 1


@pytest.mark.parametrize(("name_a", "name_b"), [("sha256:b", "sha256:c"), ("sha256:b", None), (None, None), (np.nan, np.nan)])
def test_without_the_same_fingerprint_of_the_task_nothing_is_paired(cell, name_a, name_b):
    cells = [[cell({"a": right(10, 20)}, fingerprint=name)] for name in (name_a, name_b)]
    row = by_problems(*cells)
    assert row["how"] == "proportions" and not row["same"]


def test_other_sets_are_not_tested(cell):
    row = by_problems([cell({"a": right(10, 20)})], [cell({"b": right(15, 20)})])
    assert row["how"] == "" and np.isnan(row["p"]) and not row["same"]


def test_sets_that_do_not_make_the_score_tell_nothing(cell):
    a = cell({"a": right(10, 20)}, False) | {"test": 0.7}
    assert by_problems([a], [cell({"a": right(15, 20)}, False)])["how"] == ""


def test_divergence(cell):
    """In both it is no difference, nor the same answers; in one the score of 0 is tested as one."""
    diverged, fine, weak = (lambda: cell({}, status="diverged")), cell({"a": right(10, 20)}), cell({"a": right(1, 20)})
    both = by_problems([diverged()], [diverged()])
    assert both["how"] == "diverged" and both["p"] == 1 and not both["same"]
    for pair in ([diverged()], [fine]), ([fine], [diverged()]):
        row = by_problems(*pair)
        assert row["how"] == "proportions" and not row["same"] and abs(row["difference"]) == 0.5
        assert row["p"] == pytest.approx(2 * stats.norm.sf(0.5 / np.sqrt(0.25 * 0.75 * 2 / 20)))
    assert by_problems([diverged()], [weak])["p"] > 0.05


def test_one_of_several_seeds_that_diverged_is_no_clear_difference(cell):
    cells_a = [cell({"a": right(n, 200)}) for n in (100, 104, 98)]
    row = by_problems(cells_a, [*cells_a[:2], cell({}, status="diverged")])
    assert row["how"] == "proportions" and not row["same"]
    pooled, d = (302 + 204) / 1200, np.array([0, 0, -98]) / 200
    of_problems, of_seeds = pooled * (1 - pooled) * 2 / 200, d.var(ddof=1) / 3
    df = (of_problems + of_seeds) ** 2 / (of_seeds**2 / 2)
    assert row["p"] == pytest.approx(2 * stats.t.sf(abs(d.mean()) / np.sqrt(of_problems + of_seeds), df))
    row = by_problems(cells_a, [cell({}, status="diverged") for _ in cells_a])
    assert row["p"] < 1e-3


def test_unequal_sets_are_paired_as_the_score_weighs_them(cell):
    """McNemar's test would count 12 against 3; of the means one set rose by as much as the other fell."""
    a = cell({"a": right(0, 120), "b": right(3, 30)})
    b = cell({"a": right(12, 120), "b": right(0, 30)})
    row = by_problems([a], [b])
    assert row["how"] == "paired" and row["difference"] == pytest.approx(0) and row["p"] == pytest.approx(1)


def test_every_problem_of_every_seed_changed(cell):
    """No spread to test with, but not the same either."""
    row = by_problems([cell({"a": np.zeros(20)}) for _ in range(3)], [cell({"a": np.ones(20)}) for _ in range(3)])
    assert row["how"] == "proportions" and 0 < row["p"] < 1e-6 and not row["same"]


def test_means_over_seeds():
    a, b = {"test_mean": 0.5, "test_std": 0.01, "n": 3}, {"test_mean": 0.53, "test_std": 0.02, "n": 4}
    row = by_means(a, b)
    assert row["p"] == pytest.approx(stats.ttest_ind_from_stats(0.5, 0.01, 3, 0.53, 0.02, 4, equal_var=False).pvalue)
    assert row["how"] == "seeds" and row["difference"] == pytest.approx(0.03) and row["seeds"] == 3


def test_a_mean_beside_a_single_seed_borrows_the_deviation():
    a, b = {"test_mean": 0.5, "test_std": np.nan, "n": 1}, {"test_mean": 0.53, "test_std": 0.02, "n": 4}
    p = 2 * stats.t.sf(0.03 / (0.02 * np.sqrt(1 + 1 / 4)), 3)
    assert by_means(a, b)["p"] == pytest.approx(p) and by_means(b, a)["p"] == pytest.approx(p)


@pytest.mark.parametrize("std", [0.0, np.nan])
def test_means_without_a_spread_are_not_tested(std):
    row = by_means({"test_mean": 0.5, "test_std": std, "n": 3}, {"test_mean": 0.9, "test_std": std, "n": 3})
    assert row["how"] == "" and np.isnan(row["p"])


def rejected(pairs):
    return np.mean([by_problems(*pair)["p"] < 0.05 for pair in pairs])


@pytest.mark.parametrize("sets", [{"a": (100, 0.5)}, {"a": (50, 0.8), "b": (1000, 0.3)}, {"a": (30, 0.7), "b": (60, 0.6)} | {str(i): (1000, 0.4) for i in range(6)}], ids=["1", "2", "8"])  # fmt: skip
def test_the_size_of_the_test_of_proportions(cell, sets):
    generator = np.random.default_rng(len(sets))

    def drawn():
        return [cell({name: (generator.random(n) < p).astype(float) for name, (n, p) in sets.items()}, False)]

    assert 0.02 < rejected([(drawn(), drawn()) for _ in range(600)]) < 0.075


@pytest.mark.parametrize("metric", [False, True], ids=["score", "--metric"])
def test_the_size_of_the_test_of_proportions_where_rows_are_of_one_problem(cell, metric):
    """A third of the problems have seven rows that are right or wrong together, the others one."""
    generator, sizes = np.random.default_rng(3), [7] * 30 + [1] * 60
    labels = np.repeat(np.arange(len(sizes)), sizes)

    def drawn():
        problems = (generator.random(len(sizes)) < 0.5).astype(float)
        scores = problems[labels]
        sums = np.bincount(labels, weights=scores - scores.mean())
        stderr = np.sqrt(len(sizes) / (len(sizes) - 1) * (sums**2).sum()) / len(labels)
        row = in_clusters(cell({"a": scores}, False), len(sizes), stderr)
        metrics = read_metrics(json.loads(Path(row["path"]).read_text()))
        return [row | ({"metric": "test/a", "problems": metrics["test/a"].independent} if metric else {})]

    assert 0.02 < rejected([(drawn(), drawn()) for _ in range(600)]) < 0.08


@pytest.mark.parametrize("seeds", [1, 2, 3, 5])
@pytest.mark.parametrize("completions", [True, False], ids=["paired", "proportions"])
def test_the_size_where_seeds_and_problems_vary(cell, seeds, completions):
    """Each problem has its difficulty, which both share, and each training its own skill."""
    generator, count = np.random.default_rng(seeds), 200 if completions else 400

    def drawn(difficulty):
        skills = generator.normal(0, 0.3 if seeds > 1 else 0, seeds)
        return [
            cell({"a": (generator.random(60) < 1 / (1 + np.exp(difficulty - s))).astype(float)}, completions) for s in skills
        ]

    pairs = [(drawn(hard), drawn(hard)) for hard in (generator.normal(0, 1.5, 60) for _ in range(count))]
    assert rejected(pairs) < 0.08
