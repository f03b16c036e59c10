"""The journal: append-only, readable after a kill, and of one search."""

import json

import pytest

from sweeps.errors import SweepError
from sweeps.search.base import Observation
from sweeps.space import Space
from sweeps.sweepers.journal import VERSION, Journal, held

SPACE = Space({"lr": ["1e-4", "1e-3", "1e-2"], "rank": ["4", "8"]})
SEARCH = {"method": "random", "seed": 0, "settings": {"token": True}, "config": {"lr": 0.1, "task.name": "math"}}


def journal(tmp_path, space=SPACE, **search):
    return Journal(tmp_path / "runs" / "search.jsonl", space, SEARCH | search)


def test_it_reads_what_it_wrote(tmp_path):
    first = journal(tmp_path)
    for candidate, score in ((4, 0.5), (1, None), (2, 0.7)):
        first.tell(*first.ask([candidate]), score, "" if score else "out of memory")
    first.ask([5])
    again = journal(tmp_path)
    assert again.trials == first.trials
    assert again.history() == [Observation(4, 0.5), Observation(1, None), Observation(2, 0.7)]
    assert again.open() == [3]
    assert again.trials[1].note == "out of memory"


def test_a_cut_line_is_dropped_and_the_file_goes_on(tmp_path):
    first = journal(tmp_path)
    first.tell(*first.ask([4]), 0.5)
    whole = first.file.read_bytes()
    for cut in range(1, len(whole.splitlines(keepends=True)[-1]) + 1):
        first.file.write_bytes(whole[:-cut])
        again = journal(tmp_path)
        assert again.open() == [0]
        again.tell(0, 0.25)
        assert journal(tmp_path).history() == [Observation(4, 0.25)]


def test_nothing_that_was_written_changes(tmp_path):
    first = journal(tmp_path)
    before = b""
    for candidate in range(4):
        first.tell(*first.ask([candidate]), 0.1 * candidate)
        now = first.file.read_bytes()
        assert now.startswith(before) and len(now) > len(before)
        before = now


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"space": Space({"lr": ["1e-4", "1e-3"], "rank": ["4", "8"]})}, "another space: lr"),
        ({"space": Space({"lr": ["1e-4", "1e-3", "1e-2"]})}, "another space: rank"),
        ({"seed": 1}, "seed 0 instead of 1"),
        ({"method": "tpe"}, "method random instead of tpe"),
        ({"settings": {"token": False}}, r"\(settings.token True instead of False\)"),
        ({"settings": {}}, "settings.token True instead of None"),
        ({"config": {"lr": 0.2, "task.name": "math"}}, "config.lr 0.1 instead of 0.2"),
        ({"config": {"lr": 0.1, "task.name": "sha256:" + "0" * 64}}, r"\(config.task.name differs\)"),
        # What a user changed comes before what follows from it, once and without classes.
        (
            {"initial": 9, "settings": {"token": True, "initial": 9}, "config": {"subset._target_": "X", "lr": 0.2}},
            r"\(initial None instead of 9, config.lr 0.1 instead of 0.2, config.task.name",
        ),
        ({"config": {"a": 1, "b": 2, "c": 3}}, "config.c None instead of 3, and 2 more"),
    ],
)
def test_another_search_is_one_line_and_the_file_is_untouched(tmp_path, change, word):
    first = journal(tmp_path)
    first.tell(*first.ask([1]), 0.5)
    with first.file.open("a") as file:
        file.write('{"ask": [1], "cand')  # nor is a cut line taken off
    before = first.file.read_bytes()
    with pytest.raises(SweepError, match=word) as caught:
        journal(tmp_path, **change)
    assert "\n" not in str(caught.value)
    assert first.file.read_bytes() == before


@pytest.mark.parametrize(
    "content",
    [
        "[1, 2]\n",
        "not json\n",
        json.dumps({"journal": 99}) + "\n",
        "lr: 1\nrank: 2",
        "one line",
        '{"lr": 1}\n{"lr": 2',
        '{"lr": 1}',
    ],
)
def test_a_file_that_is_no_journal_is_one_line_and_is_kept(tmp_path, content):
    file = tmp_path / "runs" / "search.jsonl"
    file.parent.mkdir()
    file.write_text(content)
    with pytest.raises(SweepError, match="is no journal of a search"):
        journal(tmp_path)
    assert file.read_text() == content


def test_a_header_that_a_kill_cut_is_written_again(tmp_path):
    first = journal(tmp_path)
    whole = first.file.read_bytes()
    for size in (*range(0, len(whole), 7), len(whole) - 1):
        first.file.write_bytes(whole[:size])
        journal(tmp_path)
        assert first.file.read_bytes() == whole


def test_a_batch_is_asked_whole_or_not_at_all(tmp_path):
    first = journal(tmp_path)
    before = first.file.read_bytes()
    assert first.ask([4, 1, 2]) == [0, 1, 2]
    whole = first.file.read_bytes()
    assert journal(tmp_path).open() == [0, 1, 2]
    for size in range(len(before), len(whole)):
        first.file.write_bytes(whole[:size])
        assert journal(tmp_path).trials == []


@pytest.mark.parametrize(
    "line",
    [
        {"tell": 5, "status": "told", "score": 0.5},
        {"tell": -1, "status": "told", "score": 0.5},
        {"tell": 0, "status": "told", "score": 0.5},  # for the second time
        {"tell": 1, "score": 0.5},
        {"tell": 1, "status": "told", "score": "abc"},
        {"tell": 1, "status": "told", "score": None},
        {"tell": 1, "status": "told", "score": float("nan")},
        {"tell": 1, "status": "failed", "score": 0.5},
        {"ask": [2], "candidates": [3.0], "overrides": []},
        {"ask": [0], "candidates": [3], "overrides": []},  # as by a second process
        {"ask": [2], "candidates": [6], "overrides": []},
        {"ask": 2, "candidate": 3},
        {},
    ],
)
def test_a_line_that_does_not_follow_is_named(tmp_path, line):
    first = journal(tmp_path)
    first.tell(*first.ask([1]), 0.5)
    first.ask([2])
    with first.file.open("a") as file:
        file.write(json.dumps(line) + "\n")
    with pytest.raises(SweepError, match="line 5 is damaged"):
        journal(tmp_path)


def test_a_journal_belongs_to_one_search_at_a_time(tmp_path):
    file = tmp_path / "runs" / "search.jsonl"
    with held(file), pytest.raises(SweepError, match="belongs to a search that is running"), held(file):
        pass
    with held(file):
        pass
    (tmp_path / "file").touch()
    with pytest.raises(SweepError, match="cannot be written"), held(tmp_path / "file" / "search.jsonl"):
        pass


def test_an_older_journal_is_told_by_its_version(tmp_path):
    first = journal(tmp_path)
    first.file.write_text(first.file.read_text().replace(f'"journal": {VERSION}', '"journal": 1'))
    with pytest.raises(SweepError, match=f"no journal of a search .version {VERSION}."):
        journal(tmp_path)
