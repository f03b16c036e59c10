"""Journals of searches, and the best score so far."""

import json
import math

import pytest

from analysis.errors import AnalysisError
from analysis.read.journals import load_journals, load_searches, read_journal
from analysis.stats.searches import progress

HEADER = {
    "journal": 2,
    "space": "e723e6ac24b82390",
    "title": "tiny · arithmetic",
    "axes": {"lr": ["0.0006", "0.002"], "rank": ["4", "8", "16"]},
    "search": {"method": "tpe", "seed": 1, "config": {"epochs": 1}},
}


def lines(*rows, header=HEADER):
    return "".join(json.dumps(row) + "\n" for row in (header, *rows))


def ask(*numbers):
    return {"ask": list(numbers), "candidates": list(numbers), "overrides": [[f"lr=0.00{n}", "rank=8"] for n in numbers]}


def tell(number, score):
    return {"tell": number, "status": "failed" if score is None else "told", "score": score}


def test_best_so_far_in_the_order_of_asking():
    journal = read_journal(lines(ask(0, 1, 2), tell(1, 0.5), tell(0, None), tell(2, 0.4), ask(3, 4), tell(3, 0.7)))
    assert journal.best_so_far()[1:] == [0.5, 0.5, 0.7, 0.7] and math.isnan(journal.best_so_far()[0])
    assert journal.best == ["lr=0.003", "rank=8"]
    assert (journal.method, journal.seed, journal.candidates) == ("tpe", 1, 6)
    assert journal.problem == "tiny · arithmetic · lr (2) × rank (3)"


def test_a_tie_is_the_first():
    assert read_journal(lines(ask(0, 1), tell(1, 0.5), tell(0, 0.5))).best == ["lr=0.000", "rank=8"]


def test_a_line_that_a_kill_cut_is_not_counted():
    assert read_journal(lines(ask(0), tell(0, 0.5)) + '{"ask": [1], "cand').scores == [0.5]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{}\n",
        '{"journal": 1}\n',
        "[]\n",
        lines(tell(0, 0.5)),
        lines({"other": 1}),
        lines(ask(0)).replace("overrides", "over"),
        lines(ask(0), tell(0, "77")),
        lines(ask(0), tell(0, True)),
        lines(ask(0), tell(0, [0.5])),
        lines(ask(0), {"tell": 0, "status": "told", "score": None}),
        lines(ask(0), {"tell": 0, "status": "failed", "score": 0.5}),
        lines(ask(0), {"tell": 0, "score": 0.5}),
        lines(ask(0), tell(1, 0.5)),
        lines(ask(0), tell(0, 0.5), tell(0, 0.7)),
        lines(ask(1), tell(1, 0.5)),
        lines(ask(0), ask(0), tell(0, 0.5)),
        lines(ask(0), tell(0, 0.5)).replace('"rank=8"', "8"),
        lines(ask(0), tell(0, 0.5)).replace("0.5}", "NaN}"),
        lines(ask(0), tell(0, 0.5)).replace("0.5}", "1e999}"),
        lines(ask(0), [1]),
    ],
)
def test_what_is_no_journal_is_left_out_with_a_line(tmp_path, caplog, content):
    (tmp_path / "tpe-seed0.jsonl").write_text(content)
    (tmp_path / "gp-seed0.jsonl").write_text(lines(ask(0), tell(0, 0.5)))
    assert len(load_searches(tmp_path)) == 1
    assert "tpe-seed0.jsonl" in caplog.text and len(caplog.messages) == 1


def test_without_a_score_or_a_folder_there_is_none(tmp_path):
    (tmp_path / "tpe-seed0.jsonl").write_text(lines(ask(0)))
    assert load_searches(tmp_path) == load_searches(tmp_path / "none") == []


@pytest.mark.parametrize(
    ("changed", "labels"),
    [
        ({"settings": {"token": False, "text": "lora"}}, ["tpe token=true", "tpe token=false"]),
        ({"initial": 9}, ["tpe initial=5", "tpe initial=9"]),
        ({"fingerprint": {"text": "fedcba9876543210"}}, ["tpe text content=012345", "tpe text content=fedcba"]),
        ({"version": {"TPE": 2, "Search": 1}}, ["tpe TPE version=1", "tpe TPE version=2"]),
        ({"seed": 2}, ["tpe", "tpe"]),
        ({"config of the values": "bbbb"}, ["tpe", "tpe"]),
    ],
)
def test_searches_by_other_settings_are_told_apart_and_other_problems_are_not_pooled(tmp_path, changed, labels):
    search = HEADER["search"] | {
        "settings": {"token": True, "text": "lora"},
        "fingerprint": {"text": "0123456789abcdef"},
        "version": {"TPE": 1, "Search": 1},
        "initial": 5,
        "config of the values": "aaaa",
    }
    for name, head in (("a", search), ("b", search | changed)):
        (tmp_path / f"{name}.jsonl").write_text(lines(ask(0), tell(0, 0.5), header=HEADER | {"search": head}))
    searches = load_searches(tmp_path)
    assert [search_.method for search_ in searches] == labels
    assert (searches[0].key == searches[1].key) == ("config of the values" not in changed)


def test_the_best_so_far_is_drawn_in_steps_with_markers_apart(tmp_path):
    from analysis.figures.search import draw as progress
    from analysis.read.journals import load_journals

    folder = tmp_path / "search"
    folder.mkdir()
    rows = [row for n in range(6) for row in (ask(n), tell(n, n / 10))]
    for method in ("gp", "language_bo"):
        header = HEADER | {"search": HEADER["search"] | {"method": method}}
        (folder / f"{method}-seed1.jsonl").write_text(lines(*rows, header=header))
    figure = progress(load_journals(tmp_path))
    upper, lower = figure.axes[0].lines
    assert {upper.get_drawstyle(), lower.get_drawstyle()} == {"steps-post"}
    assert upper.get_marker() != lower.get_marker() and upper.get_markevery() != lower.get_markevery()
    assert figure._supxlabel.get_text() == "One search a method."
    assert figure.axes[0].get_title("left") == "tiny · arithmetic · lr (2) × rank (3)"  # nor twice


def test_searches_of_one_method_with_other_settings_are_not_its_seeds(tmp_path):
    for token, score in (("true", 0.9), ("false", 0.5)):
        for seed in (0, 1):
            search = HEADER["search"] | {
                "method": "language_bo",
                "seed": seed,
                "settings": {"token": token == "true", "text": "lora"},
            }
            (tmp_path / f"{token}-seed{seed}.jsonl").write_text(
                lines(ask(0), tell(0, score), header=HEADER | {"search": search})
            )
    (tmp_path / "tpe.jsonl").write_text(lines(ask(0), tell(0, 0.1)))
    searches = [(search_.method, search_.seed, search_.scores) for search_ in load_searches(tmp_path)]
    off, on = "language_bo token=false", "language_bo token=true"
    assert searches == [(off, 0, [0.5]), (off, 1, [0.5]), ("tpe", 1, [0.1]), (on, 0, [0.9]), (on, 1, [0.9])]


def test_a_file_in_the_place_of_a_folder_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    for name in ("file", "nothing"):
        with pytest.raises(AnalysisError, match=f"{name} is not a directory"):
            load_journals(tmp_path / name)


def test_median_and_middle_half_over_searches():
    """From where all have a score; one that ended counts on with its best."""
    nan = math.nan
    searches = [[nan, 0.1, 0.2], [0.3, 0.3, 0.3], [0.4, 0.5, 0.6], [0.7, 0.8], [nan, 0.9, 1.0]]
    assert progress(searches) == [
        (2, pytest.approx(0.5), pytest.approx(0.3), pytest.approx(0.8)),
        (3, pytest.approx(0.6), pytest.approx(0.3), pytest.approx(0.8)),
    ]
    assert progress([[nan, 0.2]]) == [(2, 0.2, 0.2, 0.2)]


def test_searches_of_other_cells_have_titles_of_their_own(tmp_path):
    for number, more in enumerate(
        [{}, {"train_fraction": 0.1}, {"train_fraction": 0.1, "subset.name": "tsds", "subset._target_": "TSDS"}]
    ):
        header = HEADER | {"search": HEADER["search"] | {"config": {"epochs": 1} | more}}
        (tmp_path / f"{number}.jsonl").write_text(lines(ask(0), tell(0, 0.5), header=header))
    title = "tiny · arithmetic · lr (2) × rank (3)"
    assert [search_.problem for search_ in load_searches(tmp_path)] == [
        title,
        f"{title} · train_fraction=0.1",
        f"{title} · subset=tsds, train_fraction=0.1",
    ]
