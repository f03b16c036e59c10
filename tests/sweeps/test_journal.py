"""The journal: append-only, readable after a kill, and of one search."""

import json

import pytest

from sweeps.journal import Journal, best
from sweeps.search.base import Observation
from sweeps.space import Space, SpaceError

SPACE = Space({"lr": ["1e-4", "1e-3", "1e-2"], "rank": ["4", "8"]})
SEARCH = {"method": "random", "seed": 0}


def journal(tmp_path, space=SPACE, **search):
    return Journal(tmp_path / "runs" / "search.jsonl", space, SEARCH | search)


def test_it_reads_what_it_wrote(tmp_path):
    first = journal(tmp_path)
    for candidate, score in ((4, 0.5), (1, None), (2, 0.7)):
        first.tell(first.ask(candidate), score, "" if score else "out of memory")
    first.ask(5)
    again = journal(tmp_path)
    assert again.trials == first.trials
    assert again.history() == [Observation(4, 0.5), Observation(1, None), Observation(2, 0.7)]
    assert again.open() == [3]
    assert best(again.trials) == 2
    assert again.trials[1].note == "out of memory"


def test_a_cut_line_is_dropped_and_the_file_goes_on(tmp_path):
    first = journal(tmp_path)
    first.tell(first.ask(4), 0.5)
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
        first.tell(first.ask(candidate), 0.1 * candidate)
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
    ],
)
def test_another_search_is_one_line_and_the_file_is_untouched(tmp_path, change, word):
    first = journal(tmp_path)
    first.tell(first.ask(1), 0.5)
    before = first.file.read_bytes()
    with pytest.raises(SpaceError, match=word) as caught:
        journal(tmp_path, **change)
    assert "\n" not in str(caught.value)
    assert first.file.read_bytes() == before


@pytest.mark.parametrize("content", ["[1, 2]\n", "not json\n", json.dumps({"journal": 99}) + "\n"])
def test_a_file_that_is_no_journal_is_one_line(tmp_path, content):
    file = tmp_path / "runs" / "search.jsonl"
    file.parent.mkdir()
    file.write_text(content)
    with pytest.raises(SpaceError, match="journal"):
        journal(tmp_path)
    assert file.read_text() == content
