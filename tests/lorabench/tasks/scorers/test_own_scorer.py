"""task.scorer=module:function: a function of the user's."""

import importlib
import sys

import pytest

from lorabench.errors import UserError

ROWS = [{"question": f"q{i}", "answer": f"a{i}"} for i in range(30)]
RIGHT = "def f(prompt, completion, response):\n    return {}\n"


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A function from files' texts to the name of the module `mine`, freshly imported when it is asked for."""
    folder = tmp_path / "own"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def write(text, **beside):
        for name, content in {"mine": text, **beside}.items():
            (folder / f"{name}.py").write_text(content)
            sys.modules.pop(name, None)
        importlib.invalidate_caches()
        return "mine:f"

    yield write
    for name in ("mine", "helper"):
        sys.modules.pop(name, None)


def scores(task, completions):
    return [score["score"] for score in task.score_all(task.test_examples()[:1] * len(completions), completions)]


def test_it_gets_prompt_completion_and_response(custom, module):
    task = custom(ROWS, module(RIGHT.format("0.5 * (completion == response) + 0.5 * (prompt[1:] == response[1:])")))
    [example, *_] = task.test_examples()
    assert scores(task, [example.answer, "x"]) == [1.0, 0.5]


@pytest.mark.parametrize(
    ("value", "number"), [("True", 1), ("False", 0), ("1", 1), ("__import__('numpy').float32(0.25)", 0.25)]
)
def test_what_a_number_is(value, number, custom, module):
    task = custom(ROWS, module(RIGHT.format("True if completion == response else " + value)))
    assert scores(task, ["x"]) == [number]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("2", "2"), ("-0.1", "-0.1"), ("None", "null"), ("'0.5'", '"0.5"'), ("float('nan')", "nan"), ("float('inf')", "inf"), ("10 ** 400", "<many digits>"),
        ("10 ** 5000", "<many digits>"), ("[1]", r"\[1\]"), ("{}", ""),
    ],
)  # fmt: skip
def test_anything_else_is_one_line(value, shown, custom, module):
    task = custom(ROWS, module(RIGHT.format("1 if completion == response else " + value)))
    with pytest.raises(UserError, match=rf"task.scorer=mine:f gave {shown}.* to train/\d+; wanted a number in 0 … 1"):
        scores(task, ["x"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def g(): pass\n", "task.scorer=mine:f: mine has no function f"),
        ("f = 5\n", "mine has no function f"),
        ("def f(prompt, completion): return 1\n", "task.scorer=mine:f must take prompt, completion and response"),
        ("def f(a, b, c, d): return 1\n", "must take prompt, completion and response"),
        ("def f(:\n", r"cannot import mine \(mine.py:1: SyntaxError"),
        ("import nowhere\n", r"cannot import mine \(mine.py:1: ModuleNotFoundError"),
        ("raise SystemExit(0)\n", r"cannot import mine \(mine.py:1: SystemExit"),
    ],
)
def test_what_is_no_scorer_is_refused_when_the_task_is_built(text, message, custom, module):
    with pytest.raises(UserError, match=message):
        custom(ROWS, module(text))


def test_a_module_that_is_not_there_is_one_line(custom):
    with pytest.raises(UserError, match=r"task.scorer=nowhere_at_all:f: cannot import nowhere_at_all \(ModuleNotFoundError"):
        custom(ROWS, "nowhere_at_all:f")


@pytest.mark.parametrize(
    "text",
    [
        "import functools\n@functools.lru_cache\ndef f(prompt, completion, response): return 1\n",
        "class F:\n    def __call__(self, prompt, completion, response): return 1\nf = F()\n",
        "import functools\ndef g(p, c, r, k): return k\nf = functools.partial(g, k=1)\n",
        "f = lambda *texts: len(texts) == 3\n",
    ],
)
def test_whatever_can_be_called_is_a_function(text, custom, module):
    task = custom(ROWS, module(text))
    assert scores(task, ["x"]) == [1.0] and "unknown" not in task.fingerprint()


def test_an_exception_of_it_is_its_own_and_an_exit_is_refused(custom, module):
    task = custom(ROWS, module(RIGHT.format("{}[completion] if completion == 'x' else 1")))
    with pytest.raises(KeyError):
        scores(task, ["x"])
    task = custom(ROWS, module("import sys\n" + RIGHT.format("sys.exit(3) if completion == 'x' else 1")))
    with pytest.raises(UserError, match=r"task.scorer=mine:f ends the command \(mine.py:3 in f: SystemExit: 3\)"):
        scores(task, ["x"])


def test_a_response_that_it_finds_wrong_is_named_before_anything_is_trained(custom, module):
    wrong = custom(ROWS).test_examples()[0]
    task = custom(ROWS, module(RIGHT.format(f"response != {wrong.answer!r}")))
    with pytest.raises(UserError, match=rf"row {wrong.id} \(.*\) with the gold '{wrong.answer}', which the scorer finds wrong"):
        task.test_examples()


def test_another_file_is_another_cell_and_so_is_one_beside_it(custom, module):
    text = "from helper import RATE\n" + RIGHT.format("RATE")
    prints = [custom(ROWS, module(text, helper="RATE = 1\n")).fingerprint() for _ in range(2)]
    assert prints[0] == prints[1]
    prints.append(custom(ROWS, module(text + "# more\n", helper="RATE = 1\n")).fingerprint())
    prints.append(custom(ROWS, module(text, helper="RATE = 1.0\n")).fingerprint())
    assert len(set(prints)) == 3
