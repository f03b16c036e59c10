"""The papers' numbers through the same tools as own records: what the papers say must come out."""

import math

import pandas as pd
import pytest

from analysis.__main__ import main
from analysis.errors import AnalysisError
from analysis.figures.audit import draw as audit_figure
from analysis.kinds import FIGURES, TABLES
from analysis.published import FOLDER as PUBLISHED
from analysis.questions.proxies import text as proxy_text
from analysis.questions.searches import text as searches_text
from analysis.read.load import load_beside, load_records
from analysis.read.papers import audit
from analysis.read.published import COLUMNS
from analysis.report.data import tree
from analysis.stats.bests import bests, spread
from analysis.stats.curves import peaks, seed_means
from analysis.tables import table

OF_CELLS = [kind for kind in TABLES.names() if not hasattr(TABLES.module(kind), "read")]
"""Kinds that read nothing but cells."""


@pytest.fixture(scope="module")
def cells():
    return load_records(PUBLISHED)


def of(frame, **setting):
    for key, value in setting.items():
        frame = frame[frame[key] == value]
    return frame


def test_every_published_cell_is_a_row(cells):
    assert len(cells) == 999
    assert set(cells["model"]) == {"qwen3-0.6b", "gemma-3-1b", "llama-2-7b"}
    row = of(cells, model="qwen3-0.6b", rank=8, batch_size=16, variant="lora", lr=1.1247e-5).iloc[0]
    assert (row["test"], row["test_std"], row["n"]) == pytest.approx((0.3894, 0.0102, 3))


@pytest.mark.parametrize(
    ("setting", "over", "points"),
    [
        ({"model": "gemma-3-1b", "task": "math", "rank": 128}, ["batch_size"], 0.52),
        ({"model": "llama-2-7b", "task": "math", "rank": 128, "batch_size": 128}, [], 0.43),
        ({"model": "llama-2-7b", "task": "code", "rank": 128, "batch_size": 128}, [], 1.75),
    ],
)
def test_the_spread_of_the_peaks_is_the_papers(cells, setting, over, points):
    best = bests(of(cells, **setting), over)
    assert len(best) == 5
    assert 100 * spread(best) == pytest.approx(points, abs=0.005)


def test_pissas_best_learning_rate_is_below_loras_everywhere(cells):
    best = peaks(cells).pivot_table("peak_lr", ["model", "task", "rank", "batch_size"], "variant").dropna(subset=["pissa"])
    assert len(best) == 19
    assert (best["pissa"] < best["lora"]).all()


def test_the_best_learning_rate_falls_with_the_rank_on_llama(cells):
    """From rank 8 to 128 in all 20 curves; step by step in 19, for MiLoRA on code at batch size 16 goes up and down again."""
    best = peaks(of(cells, model="llama-2-7b")).sort_values("rank")
    curves = [curve["peak_lr"].tolist() for _, curve in best.groupby(["task", "batch_size", "variant"])]
    assert len(curves) == 20
    assert all(curve[-1] < curve[0] for curve in curves)
    assert sum(curve == sorted(curve, reverse=True) for curve in curves) == 19


def test_the_published_deviation_is_that_of_the_mean(cells):
    means = seed_means(of(cells, model="gemma-3-1b"))
    assert means["test_std"].notna().all() and set(means["n"]) == {3}
    assert seed_means(of(cells, model="llama-2-7b"))["test_std"].isna().all()


def test_the_audit_is_the_papers():
    papers = audit()
    tuned = papers[["tunes_lr", "tunes_batch_size", "compares_rank"]]
    assert len(papers) == 64
    assert (tuned.sum(axis=1) == 3).sum() == 1
    assert (papers["tunes_lr"] == 0).sum() == 46


@pytest.mark.parametrize("style", ["text", "markdown", "latex", "csv"])
@pytest.mark.parametrize("kind", OF_CELLS)
def test_every_table_shows_published_cells(cells, kind, style):
    text = table(cells, kind, style)
    assert "nan" not in text and "NaN" not in text and "<NA>" not in text
    if kind not in ("cost", "cross_fitted", "metrics"):  # of which the papers leave none
        assert "gemma-3-1b" in text


@pytest.fixture
def own(runs, write):
    """One cell of our own that the paper has, too."""
    config = {"model": {"name": "gemma-3-1b"}, "task": {"name": "math"}, "rank": 128, "train_samples": 100000}
    write("lora", 2e-4, 0, 0.5, config=config)
    return runs


MARK = "arXiv 2602.04998 (tuned on test)"
LINE = "arXiv 2602.04998: tuned on test, where own cells may be selected on validation, so its best scores are flattered."


@pytest.mark.parametrize("kind", ["peaks", "grid", "batch", "rank", "duration"])
def test_published_scores_are_marked_in_every_table(own, kind):
    shown = " ".join(table(load_beside(own, PUBLISHED), kind).split())
    assert MARK in shown and LINE in shown
    assert "tuned on test" not in table(load_records(own), kind)


@pytest.mark.parametrize("kind", ["lr_curves", "pareto"])
def test_published_scores_are_marked_in_figures(own, kind):
    both = load_beside(own, PUBLISHED)
    figure = FIGURES.module(kind).draw(both.assign(seconds=1.0, steps=1.0))
    texts = "\n".join(text.get_text().replace("\n", " ") for axes in figure.axes for text in axes.texts)
    assert MARK in texts


def test_published_scores_are_marked_in_the_report(own):
    data = tree(load_records(own), published=load_beside(own, PUBLISHED).query("source != ''"))
    assert LINE in data["gaps"]
    subtitles = [setting["subtitle"] for setting in data["settings"]]
    assert sum(MARK in subtitle for subtitle in subtitles) == len(subtitles) - 1
    assert any("(tuned on test)" in fact for fact in tree(load_records(PUBLISHED))["facts"])


@pytest.mark.parametrize("words", [["compare", "{own}", PUBLISHED], ["heuristics", PUBLISHED]])
def test_published_scores_are_marked_where_a_command_prints(own, capsys, words):
    change = {"{own}": str(own)}
    assert main([change.get(str(word), str(word)) for word in words]) == 0
    assert LINE in " ".join(capsys.readouterr().out.split())


def test_paper_2s_results_are_marked(runs):
    assert "Pearson (tuned on test)" in proxy_text([], published=True)
    assert searches_text([], published=True).count("(tuned on test)") == 4


def test_own_cells_and_published_ones_stay_apart(runs, write):
    write("lora", 2e-4, 0, 0.5, config={"model": {"name": "gemma-3-1b"}, "task": {"name": "math"}, "rank": 128})
    (runs / "theirs.csv").write_text((PUBLISHED / "lr_sweep.csv").read_text())
    both = load_records(runs)
    assert len(both) == 1000
    assert set(of(both, model="gemma-3-1b", rank=128)["source"]) == {"", "arXiv 2602.04998"}
    assert len(peaks(of(both, model="gemma-3-1b", rank=128, variant="lora"))) == 4  # three batch sizes and our own


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("mean", "104", "mean is 104"),
        ("mean", "x", "mean is x, not a percentage"),
        ("learning_rate", "-1", "learning_rate is -1"),
        ("learning_rate", "inf", "learning_rate is inf, not a positive number"),
        ("rank", "8.7", r"rank is 8\.7, not a whole number of 1 or more"),
        ("rank", "0", "rank is 0, not a whole"),
        ("rank", "1e300", r"rank is 1e\+300, not a whole"),
        ("batch_size", "", "batch_size is nan, not a whole"),
        ("train_samples", "inf", "train_samples is inf, not a whole"),
        ("seeds", "0", "seeds is 0, not a whole"),
        ("seeds", "-3", "seeds is -3, not a whole"),
        ("std", "-1", "std is -1.0, not a deviation of percentages"),
        ("std", "inf", "std is inf, not a deviation of percentages"),
        ("mean", "51", "the cell of an earlier line again"),
        ("variant", "", "variant is nan, not a name"),
    ],
)
def test_a_bad_cell_is_named_by_file_and_line(tmp_path, column, value, message):
    header, first, *_ = (PUBLISHED / "lr_sweep.csv").read_text().splitlines()
    cells = first.split(",")
    cells[header.split(",").index(column)] = value
    (tmp_path / "mine.csv").write_text("\n".join([header, first, ",".join(cells)]) + "\n")
    with pytest.raises(AnalysisError, match=rf"mine.csv, line 3: {message}"):
        load_records(tmp_path)


def test_empty_columns_that_may_be(tmp_path):
    (tmp_path / "mine.csv").write_text(",".join(COLUMNS) + "\np,m,t,lora,8,16,,,1e-3,50,\n")
    (row,) = load_records(tmp_path).to_dict("records")
    assert row["n"] == 1 and math.isnan(row["test_std"]) and pd.isna(row["train_samples"])


def test_the_audits_figure_has_the_papers_counts_and_names_a_missing_file(runs):
    bars = audit_figure(audit()).axes[0].patches
    assert [bar.get_width() for bar in bars] == [18, 2, 40, 1, 18, 46]
    with pytest.raises(AnalysisError, match=r"cannot read .*audit.csv \(No such file or directory\): pass analysis/published"):
        audit(runs / "audit.csv")


def test_a_broken_csv_is_one_line(tmp_path):
    header, first, *_ = (PUBLISHED / "lr_sweep.csv").read_text().splitlines()
    (tmp_path / "mine.csv").write_text(f"{header}\n{first}\n{first},1,2\n")
    with pytest.raises(AnalysisError, match=r"mine.csv: .*line 3") as caught:
        load_records(tmp_path)
    assert "\n" not in str(caught.value)


def test_other_csvs_are_none_of_ours(runs, write):
    write()
    (runs / "notes.csv").write_text("a,b\n1,2\n")
    (runs / "folder.csv").mkdir()
    assert len(load_records(runs)) == 1
