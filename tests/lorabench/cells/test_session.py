"""What a process holds: loaded once and lent to its cells, and nothing of it anywhere else."""

import ast
import json

import pytest
import torch

from lorabench.cells.cell import Cell
from lorabench.cells.run import run
from lorabench.cells.session import Session, current
from lorabench.schema import PACKAGE

SMALL = ["train_samples=16", "batch_size=8", "task.test_samples=4", "task.validation_samples=4"]
OURS = [PACKAGE, PACKAGE.parent / "hessian"]


@pytest.fixture
def sessions():
    """Two of them; what they loaded is let go."""
    both = Session(), Session()
    yield both
    for session in both:
        session.forget_base()


def test_one_load_serves_all_cells_of_a_session(cell, tiny):
    assert cell().base() is cell("variant=pissa", "lr=1e-3").base() is tiny
    assert cell().task is cell("lr=1e-3").task is not cell("task.test_samples=3").task
    assert cell().generator is cell("lr=1e-3").generator
    assert cell().corpora(tiny) is cell("lr=1e-3").corpora(tiny)
    assert current() is current()


def test_another_split_has_another_corpus(cell, tmp_path, tiny):
    rows = [{"question": f"q{i}", "answer": f"a\n#### {i}"} for i in range(40)]
    for split in ("train", "test"):
        (tmp_path / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    gsm8k = ["task=math", "task.sets=[gsm8k]", f"task.path={tmp_path}"]
    sizes = [len(cell(*gsm8k, f"task.validation_samples={n}").corpora(tiny).train) for n in (5, 20)]
    assert sizes == [35, 20]


def test_another_model_takes_the_place_of_the_first(cell, sessions):
    config, session = cell().config, sessions[0]
    first = Cell(config, session).base()
    half = Cell(config | {"model": config["model"] | {"dtype": "bfloat16"}}, session).base()
    assert half is not first
    assert half.model.dtype == torch.bfloat16
    assert Cell(config, session).base() is not first  # two may not fit


def test_two_sessions_of_a_process_share_nothing(cell, sessions, tmp_path, capsys):
    cells = [Cell(cell(*SMALL, f"output_dir={tmp_path / str(i)}").config, session) for i, session in enumerate(sessions)]
    scores = [run(made) for made in cells]
    assert scores[0] == scores[1]
    first, second = cells
    for part in ("task", "generator", "variant", "subset", "probe"):
        assert getattr(first, part) is not getattr(second, part), part
    first_base, second_base = first.base(), second.base()
    assert first_base.model is not second_base.model
    assert first.corpora(first_base) is not second.corpora(second_base)
    assert [session.progress.done for session in sessions] == [1, 1]
    memories = [session.tracker(first.settings.tracker).memory for session in sessions]
    memories[0]["seen"] = True
    assert memories[1] == {}
    capsys.readouterr()
    for session in (*sessions, *sessions):
        session.note_once("said")
    assert capsys.readouterr().err.count("said") == 2
    sessions[0].forget_base()
    assert first.base() is not first_base
    assert second.base() is second_base


LITERALS = (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp)
CONTAINERS = {"list", "dict", "set", "deque", "defaultdict", "bytearray", "count"}
VALUES = {"TypeVar", "Path", "ModelConfig", "CDLL"}
"""Classes whose instances a module may hold: nothing changes them."""
CHANGING = {"append", "extend", "insert", "add", "update", "setdefault", "pop", "popitem", "clear", "remove", "discard"}


def kept_state(source: str) -> list[str]:
    """Names of what a module keeps of a process, by its syntax tree.

    They are what a ``global`` statement names, objects, containers whose name is no constant's or that a function changes, such
    containers of a class, and cached functions that give an object without being told which.
    """
    tree = ast.parse(source)
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    inside = [node for function in functions for node in ast.walk(function)]
    names = [name for node in inside if isinstance(node, ast.Global) for name in node.names]
    bodies = [tree.body, *(node.body for node in ast.walk(tree) if isinstance(node, ast.ClassDef))]
    for statement in [statement for body in bodies for statement in body if isinstance(statement, ast.Assign | ast.AnnAssign)]:
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        for name in [target.id for target in targets if isinstance(target, ast.Name)]:
            constant = name.isupper() and not name.startswith("_") and not any(changes(node, name) for node in inside)
            if is_object(statement.value) or (is_container(statement.value) and not constant):
                names.append(name)
    return names + [function.name for function in functions if keeps_an_object(function)]


def called(node: ast.expr | None) -> str:
    function = node.func if isinstance(node, ast.Call) else node
    return getattr(function, "id", getattr(function, "attr", ""))


def is_container(value: ast.expr | None) -> bool:
    return isinstance(value, LITERALS) or (isinstance(value, ast.Call) and called(value) in CONTAINERS)


def is_object(value: ast.expr | None) -> bool:
    return isinstance(value, ast.Call) and called(value)[:1].isupper() and called(value) not in VALUES


def keeps_an_object(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    cached = any(called(decorator) in ("cache", "lru_cache") for decorator in function.decorator_list)
    return cached and not function.args.args and called(function.returns)[:1].isupper()


def changes(node: ast.AST, name: str) -> bool:
    """Whether it puts something into ``name[…]``, takes something out, or extends ``name`` in place."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        return node.func.attr in CHANGING and called(node.func.value) == name
    if not isinstance(node, ast.Assign | ast.AugAssign | ast.Delete):
        return False
    targets = [node.target] if isinstance(node, ast.AugAssign) else node.targets
    entries = [called(target.value) for target in targets if isinstance(target, ast.Subscript)]
    return name in entries or (isinstance(node, ast.AugAssign) and called(node.target) == name)


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("_CORPORA = {}", ["_CORPORA"]),
        ("_told: set[str] = set()", ["_told"]),
        ("PROGRESS = Progress()", ["PROGRESS"]),
        ("LOADED = {}\ndef load(key):\n    LOADED[key] = 1", ["LOADED"]),
        ("SEEN = []\ndef see(x):\n    SEEN.append(x)", ["SEEN"]),
        ("KEPT = None\ndef keep(x):\n    global KEPT\n    KEPT = x", ["KEPT"]),
        ("TOTAL = [0]\ndef count():\n    TOTAL[0] += 1", ["TOTAL"]),
        ("class Service:\n    down = {}", ["down"]),
        ("@cache\ndef engine() -> Engine:\n    return Engine()", ["engine"]),
        ("POOL = {'train': 20}\nPOOL['test'] = 1\nNAMES = [x for x in POOL]", []),
        ("@cache\ndef commit() -> str:\n    return git()", []),
    ],
)
def test_state_in_a_module_is_seen(source, names):
    assert kept_state(source) == names


@pytest.mark.parametrize("package", OURS, ids=lambda folder: folder.name)
def test_no_module_keeps_state_of_the_process(package):
    files = {file.relative_to(package.parent).as_posix(): kept_state(file.read_text()) for file in package.rglob("*.py")}
    kept = {name: names for name, names in files.items() if names}
    of_the_process = {"lorabench/cells/session.py": ["current"], "lorabench/terminal/signals.py": ["leftovers"]}
    assert kept == (of_the_process if package == PACKAGE else {})
