"""Plain asserts about a solution: the tests run here, the solution in a process of its own, the player.

What a test gets of the solution is plain data, and stand-ins for what is none. So the solution sees no test, no expected value
and no frame of the tests, and an ``__eq__`` of its own decides nothing.
"""

import ast
import builtins
import signal
from collections.abc import Callable, Sequence
from typing import Any

from lorabench.sandbox import kernel
from lorabench.sandbox.peer import Over, Peer
from lorabench.sandbox.player import Player
from lorabench.sandbox.remote import OPERATIONS

TRIAL = {
    "kind": "asserts",
    "solution": "def f(x):\n    return x + 1\n",
    "tests": "assert f(1) == 2",
    "model": "def f(x): ...",
    "seconds": 20.0,
}
AGAIN = 0.1
"""Seconds after which a test that has caught the end of its time is ended again."""


class Late(Over):
    """The time is up."""


class Absent:
    """Takes the place of a name that the solution does not have; otherwise Python's own of that name would be tested."""

    def __init__(self, name: str):
        """Of a name."""
        self._name = name

    def __call__(self, *_: Any, **__: Any) -> Any:
        """As a name that is not there.

        Raises:
            NameError: always.
        """
        raise NameError(f"name '{self._name}' is not defined")


def outcome(job: dict[str, Any], player: Player, confine: Callable[[], None]) -> dict[str, Any]:
    """Whether the tests of a job pass with its solution.

    Args:
        job: ``solution`` and ``tests``, Python as text; ``model``, a right solution, which says what tests may use of one: the
            names that it binds, and what it imports; ``seconds`` of wall time for all together.
        player: runs the solution.
        confine: what this process does to itself before it runs the tests, which are the data's.

    Returns:
        ``passed``, and whether the time was up before they had ended: ``late``.
    """
    confine()
    kernel.limit_cpu()
    names, imports, classes = provided(job["model"])
    peer = Peer(player.reader, player.writer, ANSWERED, operators=classes)
    late = False

    def end(*_: Any) -> None:
        nonlocal late
        late = True
        raise Late

    signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, job["seconds"], AGAIN)
    try:
        tests = compile(job["tests"], "tests", "exec", dont_inherit=True)
        peer.ask("load", job["solution"])
        scope = {"__name__": TESTS} | _imported(imports) | _of_solution(peer, names)
        exec(tests, scope)
        passed = True
    except BaseException:
        passed = False
    signal.setitimer(signal.ITIMER_REAL, 0)
    return {"passed": passed and not late and not peer.gone, "late": late}


TESTS = "tests"
"""Module of the classes that tests define."""


def _attribute(value: Any, name: str, *changed: Any) -> Any:
    """Of an object of the tests' own class, which a solution was given; others, such as frames, tell it nothing."""
    if type(value).__module__ != TESTS or name.startswith("_"):
        raise AttributeError(name)
    return setattr(value, name, *changed) if changed else getattr(value, name)


ANSWERED = {
    name: operation
    for name, operation in OPERATIONS.items()
    if name not in ("getattr", "setattr", "isinstance", "enter", "exit")
} | {"getattr": _attribute, "setattr": _attribute}
"""What a solution may ask of the objects that tests gave it."""


def provided(model: str) -> tuple[list[str], str, bool]:
    r"""What tests may use of a solution.

    >>> provided("import math\ndef f(x):\n    return math.pi")
    (['f'], 'import math', False)

    Args:
        model: a right solution, Python as text.

    Returns:
        The names that it binds at its top level, its imports as text, and whether it defines a class.
    """
    try:
        body = ast.parse(model).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return [], "", False
    names: list[str] = []
    imports: list[str] = []
    for statement in _flat(body):
        if isinstance(statement, ast.Import | ast.ImportFrom):
            imports.append(ast.unparse(statement))
        elif isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.append(statement.name)
        elif isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign):
            names += [node.id for node in ast.walk(statement) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]
    classes = any(isinstance(statement, ast.ClassDef) for statement in _flat(body))
    return list(dict.fromkeys(names)), "\n".join(imports), classes


def _flat(body: Sequence[ast.stmt]) -> list[ast.stmt]:
    """Statements of the top level, also those in its branches."""
    flat: list[ast.stmt] = []
    for statement in body:
        inner = (getattr(statement, part, []) for part in ("body", "orelse", "finalbody"))
        branch = isinstance(statement, ast.If | ast.Try | ast.With | ast.For | ast.While)
        flat += _flat([each for part in inner for each in part]) if branch else [statement]
    return flat


def _imported(imports: str) -> dict[str, Any]:
    """What the imports of the right solution bind, one by one: a package that is not installed here is none that tests use."""
    scope: dict[str, Any] = {}
    for line in imports.splitlines():
        try:
            exec(compile(line, "imports", "exec", dont_inherit=True), scope)
        except Exception:  # whatever a module raises
            continue
    scope.pop("__builtins__", None)
    return scope


def _of_solution(peer: Peer, names: Sequence[str]) -> dict[str, Any]:
    """The solution's own names, as far as it has them."""
    scope: dict[str, Any] = {}
    for name in names:
        try:
            kind, value = peer.ask("name", name)
        except Over:
            raise
        except Exception:  # it has no such name, or none that can be sent
            if hasattr(builtins, name):
                scope[name] = Absent(name)
            continue
        if kind == "exception":
            value = peer.exceptions[name] = type(name, (_nearest(value),), {"__module__": TESTS})
        scope[name] = value
    return scope


def _nearest(names: Any) -> type[BaseException]:
    """Python's own class among the names of an exception's bases."""
    for name in names if isinstance(names, list) else ():
        kind = getattr(builtins, str(name), None)
        if isinstance(kind, type) and issubclass(kind, BaseException):
            return kind
    return Exception
