"""A folder of block records as one frame."""

import pytest
from block_records import write

from analysis.errors import AnalysisError
from analysis.read.blocks import load_blocks


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"lambda_max": None}, "lambda_max is None"),
        ({"lambda_max": float("nan")}, "lambda_max is nan"),
        ({"seed": True}, "seed is True"),
        ({"schema_version": 2}, "schema_version is 2"),
        ({"growth": 3}, "growth is 3"),
        ({"data": {"stderr": "x"}}, "'x' is not a number"),
    ],
)
def test_a_record_that_cannot_be_trusted_is_left_out_with_a_line(folder, caplog, change, reason):
    path = write(folder, "dora", "q_proj", 0, 0.1, 1.1, **change)
    (folder / "half.json").write_text("{")
    (folder / "other.json").write_text('{"kind": "hessian_curve"}')
    assert "dora" not in set(load_blocks(folder)["variant"])
    assert [message for message in caplog.messages if reason in message and str(path) in message]
    assert len(caplog.messages) == 2 and "half.json" in caplog.text


def test_nothing_to_read_is_an_error(tmp_path):
    with pytest.raises(AnalysisError, match="is not a directory"):
        load_blocks(tmp_path / "missing")
    with pytest.raises(AnalysisError, match="no record of a block"):
        load_blocks(tmp_path)
