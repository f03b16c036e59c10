"""Tasks of files of one's own with a scorer by name, and single scores."""

import json

import pytest

from lorabench.cells.parts import build
from lorabench.tasks.base import Task
from lorabench.tasks.own.reading import Conversation
from lorabench.tasks.scorers import scorer_of


@pytest.fixture
def custom(tmp_path, cell):
    """A function from rows, a scorer and other fields to a task of them."""

    def make(rows, scorer=None, name="mine.jsonl", **fields):
        file = tmp_path / name
        file.write_text("\n".join(map(json.dumps, rows)))
        node = cell("task=custom", f"task.train={file}").config["task"]
        return build(node | {"scorer": scorer} | fields, "task", Task)

    return make


@pytest.fixture
def scored():
    """A function from a scorer's name, a response and a completion to what it says of them, after a look at the responses."""

    def score(name, response, completion, others=(), prompt="a question"):
        scorer = scorer_of(name, {"columns": {"tests": "tests"}})
        scorer.check([response, *others])
        [verdict] = scorer.score_all([Conversation("train/0", prompt, response, response)], [completion])
        assert scorer.score(Conversation("train/0", prompt, response, response), completion) == verdict["score"]
        return verdict["score"]

    return score
