"""Completions that are read whole or not at all, and in little room."""

import gzip
import json
import tracemalloc

import numpy as np
import pytest

from analysis.__main__ import main
from analysis.questions.differences import differences
from analysis.read.completions import SAME, answers, completions, scores, shared_scores, verified_scores
from analysis.read.load import load_records

ROW = {"split": "test", "set": "a", "id": "x", "prompt": "p", "completion": "c", "gold": "g", "score": 1.0}


def line(**changed):
    return json.dumps({key: value for key, value in (ROW | changed).items() if value is not ...}).encode() + b"\n"


def overwritten(data):
    return data[: len(data) // 2] + b"\xff" * 20 + data[len(data) // 2 + 20 :]


DAMAGED = {
    "overwritten": lambda data: overwritten(data),
    "cut short": lambda data: data[: len(data) // 2],
    "empty": lambda data: b"",
    "no gzip": lambda data: b"text",
    "not UTF-8": lambda data: gzip.compress(gzip.decompress(data) + b"\xff\n"),
    "half a line": lambda data: gzip.compress(gzip.decompress(data) + b'{"split": "te'),
    "no object": lambda data: gzip.compress(gzip.decompress(data) + b"[1, 2]\n"),
    "deep": lambda data: gzip.compress(gzip.decompress(data) + b"[" * 100_000),
    **{
        f"no {key}": lambda data, key=key: gzip.compress(gzip.decompress(data) + line(**{key: ...}))
        for key in ("set", "id", "prompt", "completion", "gold")
    },
    "a number for a text": lambda data: gzip.compress(gzip.decompress(data) + line(id=3)),
    **{
        f"score {score}": lambda data, score=score: gzip.compress(gzip.decompress(data) + line(score=score))
        for score in ("x", float("nan"), 1.5, 10**30, True)
    },
    "a problem twice": lambda data: gzip.compress(gzip.decompress(data) + 2 * line()),
    "two problems of one id": lambda data: gzip.compress(gzip.decompress(data) + line() + line(prompt="another")),
}


@pytest.mark.parametrize("damage", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_file_is_one_line_and_no_completions(runs, answered, caplog, capsys, damage):
    generator = np.random.default_rng(0)
    for name in ("lora", "pissa"):
        for lr in (2e-4, 2e-3):
            for seed in (0, 1):
                path = answered(name, lr, seed, [float(score) for score in generator.random(60) < 0.5])
    file = path.with_name("completions.jsonl.gz")
    file.write_bytes(damage(file.read_bytes()))
    assert answers(path) == scores(str(path)) == {} and list(completions(path)) == []
    assert len(caplog.messages) == 1 and caplog.messages[0].startswith(f"left out the completions in {file}: ")
    for command in ("table", "responses", "report", "compare"):
        more = {"table": ["--kind", "cross_fitted"], "compare": [str(runs)]}.get(command, [])
        assert main([command, str(runs), *more]) == 0
    assert len(caplog.messages) == 1, "said once"
    table = differences(load_records(runs))
    assert table["how"].isin(["paired", "means"]).all() and table["value"].notna().all()


def test_an_id_is_of_one_set(runs, write):
    path = write()
    path.with_name("completions.jsonl.gz").write_bytes(gzip.compress(line() + line(set="b", score=0.0)))
    assert scores(str(path)) == {"a": {"x": 1.0}, "b": {"x": 0.0}}


def test_missing_scores_are_read(runs, write):
    path = write()
    rows = line() + line(id="y", score=0) + line(id="z", score=None) + line(split="validation", prompt=...)
    path.with_name("completions.jsonl.gz").write_bytes(gzip.compress(rows))
    assert scores(str(path)) == {"a": {"x": 1.0, "y": 0.0}}
    assert [row["score"] for row in completions(path)] == [1.0, 0.0, pytest.approx(float("nan"), nan_ok=True)]


def test_a_file_that_was_written_anew_is_read_anew(runs, answered):
    path = answered("lora", 2e-3, 0, [1.0, 0.0])
    assert scores(str(path))["arithmetic"] == {"test/0": 1.0, "test/1": 0.0}
    path.with_name("completions.jsonl.gz").write_bytes(gzip.compress(line(id="another")))
    assert scores(str(path)) == {"a": {"another": 1.0}}


def test_scores_are_aligned_by_problem(runs, write):
    """In another order, with others in between, and one unscored."""
    paths = []
    for seed, ids in enumerate(("abcd", "dcba", "xbadc", "abcd")):
        paths.append(str(write(seed=seed)))
        rows = b"".join(
            line(id=name, score=(ord(name) % 32 + seed) / 100 if (name, seed) != ("c", 3) else None) for name in ids
        )
        (runs / paths[-1]).with_name("completions.jsonl.gz").write_bytes(gzip.compress(rows))
    arrays, ids = shared_scores([paths[:1], paths[1:2]])
    assert ids == [list("abcd")] and np.array_equal(100 * np.array(arrays).squeeze(), [[1, 2, 3, 4], [2, 3, 4, 5]])
    arrays, ids = shared_scores([paths[:2], paths[2:]])
    assert ids == [list("abd")]
    assert [of_set.tolist() for [of_set] in arrays] == [
        [[0.01, 0.02, 0.04], [0.02, 0.03, 0.05]],
        [[0.03, 0.04, 0.06], [0.04, 0.05, 0.07]],
    ]
    assert shared_scores([]) == ([], [])


def test_rows_of_one_problem_have_one_label(runs, write):
    path = write(seed=0)
    rows = b"".join(line(id=one, score=1.0, **({"group": "g"} if one in "bd" else {})) for one in "abcd")
    file = (runs / str(path)).with_name("completions.jsonl.gz")
    file.write_bytes(gzip.compress(rows))
    _, labels = shared_scores([[str(path)]])
    assert labels == [["a", "group g", "c", "group g"]]
    file.write_bytes(gzip.compress(rows + line(id="e", group=3)))
    assert answers(path) == {}


def test_completions_reproduce_each_models_mean_over_its_seeds(answered):
    models = [
        [{"path": answered(name, 2e-3, seed, scores), "test": sum(scores) / 4} for seed, scores in enumerate(of_seeds)]
        for name, of_seeds in {
            "lora": ([1.0, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 1.0]),
            "pissa": ([0.0, 0.0, 1.0, 0.5], [1.0, 1.0, 1.0, 1.0]),
        }.items()
    ]
    arrays, ids = verified_scores(models)
    assert ids == [[f"test/{i}" for i in range(4)]]
    assert [of_set.tolist() for [of_set] in arrays][1] == [[0.0, 0.0, 1.0, 0.5], [1.0, 1.0, 1.0, 1.0]]
    score = models[1][0]["test"]
    for off, verified in ((SAME, True), (3 * SAME, False), (-3 * SAME, False), (float("nan"), False)):
        models[1][0]["test"] = score + off
        assert (verified_scores(models) is not None) == verified
    models[0][0]["path"].with_name("completions.jsonl.gz").unlink()
    assert verified_scores(models) is None and verified_scores([]) is None


def test_a_cell_costs_a_number_a_problem(answered):
    """The texts are kept once for all cells."""
    paths = [answered("lora", 2e-3, seed, [float(i % 2) for i in range(2000)]) for seed in range(5)]
    answers(paths[0])
    tracemalloc.start()
    for path in paths[1:]:
        answers(path)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 4 * 2000 * 10
    first, second = (answers(path)["arithmetic"] for path in paths[:2])
    assert first.problems is second.problems
