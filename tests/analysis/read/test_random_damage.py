"""Records and journals that a disk, a kill or an editor has damaged: each is named and left out, and the others are shown."""

import gzip
import json
import random
import shutil

import block_records
import pytest
from cell_records import decided

from analysis.__main__ import main

BATCHES, EACH = 10, 5
ODD = [
    None,
    True,
    False,
    0,
    -1,
    1,
    1.5,
    1e308,
    -0.0,
    float("nan"),
    float("inf"),
    10**400,
    2**63,
    "",
    "x",
    "\ud800",
    "0",
    "a\nb",
    "${x}",
]
ODD += [
    [],
    {},
    [[]],
    [None],
    ["x", 1],
    {"": None},
    {"a": {"b": []}},
    [{}],
    "x" * 5000,
    {"mean": "x"},
    {"name": None},
    {"name": []},
]
HEADER = {
    "journal": 2,
    "space": "e723e6ac24b82390",
    "title": "tiny · arithmetic",
    "axes": {"lr": ["0.0006", "0.002"], "rank": ["4", "8"]},
    "search": {
        "method": "tpe",
        "seed": 1,
        "initial": 2,
        "design": "sobol",
        "settings": {"token": False},
        "fingerprint": {"text": "abcdef012"},
        "version": {"TPE": 1},
        "config": {"epochs": 1, "model.name": "tiny"},
        "config of the values": "0123",
    },
}
TRIALS = [
    {"ask": [0, 1], "candidates": [0, 3], "overrides": [["lr=0.0006", "rank=4"], ["lr=0.002", "rank=8"]]},
    {"tell": 0, "status": "told", "score": 0.5},
    {"tell": 1, "status": "failed", "score": None, "note": "x"},
    {"ask": [2], "candidates": [1], "overrides": [["lr=0.0006", "rank=8"]]},
    {"tell": 2, "status": "told", "score": 0.7},
]
COMMANDS = [
    "table",
    "report",
    "recommend",
    "search",
    "table --kind difference",
    "table --kind sharpness",
    "heuristics",
    "responses",
]


def of_bytes(content, random):
    """Bytes flipped, cut out, doubled or put in, or the end gone."""
    start = random.randrange(len(content))
    end = min(len(content), start + random.choice([1, 1, 2, 30, len(content)]))
    return random.choice(
        [
            lambda: content[:start] + bytes([content[start] ^ (1 << random.randrange(8))]) + content[start + 1 :],
            lambda: content[:start] + content[end:],
            lambda: content[:end] + content[start:],
            lambda: content[:start] + random.randbytes(end - start)[:40] + content[end:],
            lambda: content[:start],
            lambda: content[:start] + random.choice([b"\0", b"\xff", b"\n", b"[" * 5000, b"{}", b"NaN", b",", b"\xef\xbb\xbf"]) + content[start:],
        ]
    )()  # fmt: skip


def places(node, place=()):
    """Paths to everything inside a JSON value."""
    below = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [place, *(path for key, item in below for path in places(item, (*place, key)))]


def of_values(tree, random):
    """One value gone, or replaced by an odd one or by another of the same tree."""
    holder = {"root": tree}
    paths = [("root", *path) for path in places(tree)]
    node, (*groups, last) = holder, random.choice(paths)
    for key in groups:
        node = node[key]
    if isinstance(node, dict) and len(groups) and random.random() < 0.2:
        del node[last]
    elif random.random() < 0.2:
        other = holder
        for key in random.choice(paths):
            other = other[key]
        node[last] = json.loads(json.dumps(other))
    else:
        node[last] = random.choice(ODD)
    return holder["root"]


def damage(path, random):
    """Damage a file as bytes, or, of one of its lines, as values."""
    packed = path.suffix == ".gz"
    content = path.read_bytes()
    if random.random() < 0.35:
        path.write_bytes(of_bytes(content, random))
        return
    lines = (gzip.decompress(content) if packed else content).decode().splitlines()
    for _ in range(random.choice([1, 1, 1, 2, 4])):
        place = random.randrange(len(lines))
        lines[place] = json.dumps(of_values(json.loads(lines[place]), random))
    text = ("\n".join(lines) + "\n").encode()
    path.write_bytes(gzip.compress(text) if packed else text)


@pytest.fixture
def pristine(runs, write, answered):
    """Files that a sweep leaves, in a folder with others of their kind; by kind."""
    for lr in (1e-3, 2e-3):
        for seed in (0, 1):
            answered("pissa", lr, seed, [1.0, float(seed), 0.0, 0.0])
            record = answered("lora", lr, seed, [1.0, float(seed), 0.0, 1.0])
    for place in ("search", "hessian"):
        (runs / place).mkdir()
    journal = runs / "search" / "good.jsonl"
    journal.write_text("".join(json.dumps(row) + "\n" for row in (HEADER, *TRIALS)))
    for layer in range(2):
        block_records.write(runs / "hessian", "lora", layer=layer, lam=0.2 + layer)
        block = block_records.write(runs / "hessian", "pissa", layer=layer, lam=0.3 + layer)
    return {"record": record, "answers": record.parent / "completions.jsonl.gz", "block": block, "journal": journal}


def damaged_copies(pristine, runs, chance):
    """Beside the good files so many damaged ones of each kind; of the records and blocks those that are no JSON any more."""
    broken = []
    for number in range(EACH):
        for kind, good in pristine.items():
            place = runs / "search" / f"{number}.jsonl" if kind == "journal" else runs / "hessian" / f"{number}.json"
            if kind in ("record", "answers"):
                cell = shutil.copytree(pristine["record"].parent, runs / f"{kind}{number}", dirs_exist_ok=True)
                place = cell / good.name
                # as another cell, which no newer record of the same one replaces
                copy = json.loads((cell / "record.json").read_text())
                copy["config"]["seed"] = 100 + 2 * number + (kind == "record")
                (cell / "record.json").write_text(json.dumps(copy))
            elif kind == "block":  # of another seed, or one of them alone would be read
                place.write_text(json.dumps(json.loads(good.read_text()) | {"seed": 100 + number}))
            else:
                shutil.copy(good, place)
            damage(place, chance)
            if kind in ("record", "block") and not is_json(place):
                broken.append(place)
    return broken


def is_json(path):
    try:
        return isinstance(json.loads(path.read_text(encoding="utf-8")), dict)
    except (ValueError, RecursionError):
        return False


def ended(words, runs, tmp_path, capsys, caplog):
    """Code and lines of a command in this process."""
    command, *options = words.split()
    folder = runs / "hessian" if "sharpness" in options else runs
    out = ["--out", str(tmp_path / "page.html")] if command == "report" else []
    caplog.clear()
    capsys.readouterr()
    code = main([command, str(folder), *options, *out])
    return code, [*caplog.messages, *capsys.readouterr().err.splitlines()]


@pytest.mark.parametrize("batch", range(BATCHES))
def test_a_damaged_file_is_named_and_the_others_are_shown(pristine, runs, tmp_path, capsys, caplog, batch):
    broken = damaged_copies(pristine, runs, random.Random(batch))
    for words in COMMANDS[:4] + COMMANDS[4 + batch % 4 :][:1]:
        code, lines = ended(words, runs, tmp_path, capsys, caplog)
        assert code == 0, (words, lines)
        assert not any("\n" in line for line in lines), words
        if words == "report":
            assert [path for path in broken if not any(str(path) in line for line in lines)] == []


@pytest.mark.parametrize(
    ("kind", "changed", "line"),
    [
        ("block", {"lambda_max": 10**400}, "lambda_max is 1000"),
        ("block", {"growth": [1]}, "growth has 1"),
        ("block", {"growth": [{"sequences": 8}]}, "growth has {"),
        ("block", {"ratio": 2.0}, "ratio is 2.0, not an object"),
        ("block", {"identity": {"variant": "x"}}, "variant is 'x', not an object"),
        ("block", {"model": "a\nb"}, "model is 'a\\nb', with a control character"),
        ("block", {"finished": "\ud800"}, "a lone surrogate"),
        ("block", {"checkpoint": 1}, "checkpoint is 1"),
        ("journal", {"axes": {"lr": 1}}, "an axis is no list of values"),
        ("journal", {"axes": []}, "axes is []"),
        ("journal", {"search": HEADER["search"] | {"seed": 1e400}}, "seed is inf"),
        ("journal", {"search": HEADER["search"] | {"config": [1]}}, "config is [1], not an object"),
        ("journal", {"title": "\ud800"}, "a lone surrogate"),
    ],
)
def test_a_value_that_cannot_be_is_named(pristine, runs, tmp_path, capsys, caplog, kind, changed, line):
    first, *rest = pristine[kind].read_text().splitlines()
    pristine[kind].write_text("\n".join([json.dumps(json.loads(first) | changed), *rest, ""]))
    words = "table --kind sharpness" if kind == "block" else "search"
    _, lines = ended(words, runs, tmp_path, capsys, caplog)
    assert any(str(pristine[kind]) in said and line in said for said in lines), lines


@pytest.mark.parametrize("kind", ["block", "journal"])
def test_what_is_nested_too_deeply_is_named(pristine, runs, tmp_path, capsys, caplog, kind):
    pristine[kind].write_text('{"a": ' + "[" * 100_000 + "\n")
    _, lines = ended("table --kind sharpness" if kind == "block" else "search", runs, tmp_path, capsys, caplog)
    assert any(str(pristine[kind]) in said for said in lines), lines


def test_an_option_of_several_lines_is_written_in_one(pristine, runs, capsys, change):
    change(pristine["record"], "config.trainer.note", "a\nb")
    decided(pristine["record"], "trainer.note", "a\nb")
    main(["table", str(runs)])
    assert "trainer.note=a\\nb" in capsys.readouterr().out
