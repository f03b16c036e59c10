"""A checkpoint that any damage shows in."""

import random

import pytest
import torch

from lorabench.training.checkpoint import Checkpoint
from lorabench.training.sealed import Damaged, read_sealed, write_sealed

STATE = {"start": "a", "trained": {"x": torch.arange(300.0)}, "base": {}, "progress": {"steps": 3, "loss": [0.5]}}


@pytest.fixture
def file(tmp_path):
    write_sealed(tmp_path / "checkpoint.pt", STATE)
    return tmp_path / "checkpoint.pt"


def test_what_was_written_is_read(file):
    state = read_sealed(file)
    assert torch.equal(state["trained"]["x"], STATE["trained"]["x"])
    assert state["progress"] == STATE["progress"] and state["start"] == "a"
    assert [path.name for path in file.parent.iterdir()] == ["checkpoint.pt"]


def test_every_flipped_bit_shows(file):
    content, draws = file.read_bytes(), random.Random(0)
    places = {0, 1, len(content) - 1, len(content) - 33, *(draws.randrange(len(content)) for _ in range(200))}
    for place in places:
        file.write_bytes(content[:place] + bytes([content[place] ^ 1 << draws.randrange(8)]) + content[place + 1 :])
        with pytest.raises(Damaged):
            read_sealed(file)


@pytest.mark.parametrize("cut", [0, 1, 31, 32, 33, 500, -1, -32, -33])
def test_every_length_but_its_own_shows(file, cut):
    file.write_bytes(file.read_bytes()[:cut])
    with pytest.raises(Damaged):
        read_sealed(file)


def test_zeroed_and_exchanged_blocks_show(file):
    content = file.read_bytes()
    for start in range(0, len(content) - 64, 97):
        file.write_bytes(content[:start] + bytes(64) + content[start + 64 :])
        if file.read_bytes() != content:
            with pytest.raises(Damaged):
                read_sealed(file)


def test_one_without_a_seal_is_begun_anew(tmp_path, capsys):
    """As an earlier version wrote it, or anyone."""
    torch.save(STATE, tmp_path / "checkpoint.pt")
    parameter = torch.nn.Parameter(torch.zeros(3))
    checkpoint = Checkpoint(tmp_path / "checkpoint.pt", minutes=1)
    checkpoint.begin({"x": parameter}, {})
    assert checkpoint.restore({"x": parameter}, torch.optim.AdamW([parameter]), lambda state: None, {}, 1) is None
    line = "checkpoint.pt is no checkpoint of this cell (its hash is another one): set aside as checkpoint.pt.damaged, and the cell"
    assert line in capsys.readouterr().err
