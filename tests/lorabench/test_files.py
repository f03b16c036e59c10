"""Files are whole or not there, and locks exclude."""

import json
import os
import resource

import pytest

import sweeps.files
from lorabench.files import digest, folder_hash, read_json, replaced, write_json


def test_write_is_whole_and_has_no_nan(tmp_path):
    file = tmp_path / "record.json"
    write_json(file, {"loss": [1.0, float("nan"), float("inf")], "n": {"x": (1, 2)}})
    assert json.loads(file.read_text()) == {"loss": [1.0, None, None], "n": {"x": [1, 2]}}
    assert [f.name for f in tmp_path.iterdir()] == ["record.json"]


def test_half_written_record_counts_as_none(tmp_path):
    (tmp_path / "record.json").write_text('{"status": "comp')
    assert read_json(tmp_path / "record.json") is None
    assert read_json(tmp_path / "missing.json") is None
    assert read_json(tmp_path / "record.json" / "below.json") is None


def test_what_breaks_while_it_is_written_leaves_the_file_as_it_was(tmp_path):
    file = tmp_path / "a.txt"
    file.write_text("before")

    def interrupted():
        with replaced(file) as scratch:
            scratch.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert file.read_text() == "before"
    assert list(tmp_path.iterdir()) == [file]


def test_a_write_that_fails_gives_its_room_back_though_someone_has_it_open(tmp_path):
    """As `torch.save` does, whose archive lives on in the frames of the error."""
    limit, most, streams = resource.getrlimit(resource.RLIMIT_FSIZE), 1 << 20, []

    def fill(replaced_of):
        with replaced_of(tmp_path / "a.bin") as scratch:
            streams.append(scratch.open("wb", buffering=0))
            for _ in range(2):
                streams[-1].write(b"x" * most)

    resource.setrlimit(resource.RLIMIT_FSIZE, (most, limit[1]))
    try:
        for replaced_of in (replaced, sweeps.files.replaced):
            with pytest.raises(OSError, match="File too large"):
                fill(replaced_of)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert [os.fstat(stream.fileno()).st_blocks for stream in streams] == [0, 0] and not list(tmp_path.iterdir())
    for stream in streams:
        stream.close()


def test_folders_of_the_same_files_have_one_hash(tmp_path):
    for name in "ab":
        (tmp_path / name / "deep").mkdir(parents=True)
        (tmp_path / name / "deep" / "x.py").write_text("x = 1")
    (tmp_path / "b" / "__pycache__").mkdir()
    (tmp_path / "b" / "__pycache__" / "x.pyc").write_text("")
    (tmp_path / "b" / ".hidden").write_text("")
    assert folder_hash(tmp_path / "a") == folder_hash(tmp_path / "b")
    (tmp_path / "b" / "deep" / "x.py").rename(tmp_path / "b" / "deep" / "y.py")
    assert folder_hash(tmp_path / "a") != folder_hash(tmp_path / "b")


def test_a_digest_is_of_values_not_of_spelling():
    assert digest({"a": 1, "b": 2.0}) == digest({"b": 2, "a": 1.0})
    assert len({digest(value) for value in (True, None, 1.5, "1", [1], {"a": 1})}) == 6
