"""A wrong solution never scores as right, whatever it does to be judged so; right ones of all kinds do."""

import pytest
from forgeries import FORGERIES, YES, ZERO

from lorabench.sandbox import pool

RIGHT = "def f(x):\n    return x + 1\n"
TESTS = "assert f(1) == 2\nassert f(5) == 6"


def job(solution, tests=TESTS, model=RIGHT, seconds=20.0):
    return {"kind": "asserts", "name": "trial", "solution": solution, "tests": tests, "model": model, "seconds": seconds}


def passed(jobs):
    return [answer is not None and answer["passed"] for answer in pool.run(jobs, bubblewrap=False, workers=1)]


def test_no_forgery_passes_asserts_and_right_solutions_do_after_each():
    verdicts = passed([each for code in FORGERIES.values() for each in (job(code), job(RIGHT))])
    assert [name for name, passes in zip(FORGERIES, verdicts[::2], strict=True) if passes] == []
    assert [name for name, passes in zip(FORGERIES, verdicts[1::2], strict=True) if not passes] == []


TOLERANT = {
    "differences": "assert abs(f(1) - 2) < 1e-6",
    "the other side": "assert 2 == f(1)",
    "no difference": "assert not f(1) != 2",
    "membership": "assert f(1) in (2, 3)",
    "closeness": "import math\nassert math.isclose(f(1), 2)",
    "lists": "assert [f(1), f(2)] == [2, 3]",
    "a set": "assert {f(1)} == {2}",
    "a difference's attribute": "r = f(1) - 2\nassert r == 0 or r.real == 0 or r.max() == 0 or not r or r[0] == 0",
    "a difference of the other side": "assert abs(2 - f(1)) < 1e-6",
    "a product": "assert f(1) * 3 == 6 and 3 * f(1) == 6",
    "what it holds": "assert 2 in [f(1)] and f(1) in {2: 0}",
    "order": "assert 1.9 < f(1) < 2.1 and f(5) > 5.5",
    "type and value": "r = f(1)\nassert isinstance(r, int) and r == 2",
}
OBJECTS = {
    "nought": "class N:\n"
    + "".join(f"    def __{name}__(self, *o): return 0.0\n" for name in ("sub", "rsub"))
    + "".join(f"    def __{name}__(self, *o): return 6\n" for name in ("mul", "rmul"))
    + "def f(x): return N()",
    "itself": "class I:\n    real = 0\n    def __getattr__(self, name): return lambda *_: 0\n"
    + "".join(f"    def __{name}__(self, *o): return self\n" for name in ("sub", "rsub", "mul", "rmul"))
    + "".join(f"    def __{name}__(self, *o): return 0.0\n" for name in ("abs", "float", "getitem", "round"))
    + "    def __bool__(self): return False\n    def __eq__(self, o): return True\n    __hash__ = object.__hash__\n"
    + "def f(x): return I()",
    "yes": f"{YES}def f(x): return Yes()",
    "zero": f"{ZERO}def f(x): return Zero('nan')",
    "any": "from unittest.mock import ANY\ndef f(x): return ANY",
    "all operators": "class O:\n    def __getattr__(self, name): return lambda *a: True\n"
    + "".join(
        f"    def __{name}__(self, *o): return True\n"
        for name in ("eq", "ne", "lt", "gt", "le", "ge", "bool", "sub", "rsub", "abs", "float", "int", "contains", "hash")
    )
    + "def f(x): return O()",
}


LOOPS = {
    "map": "assert all(map(lambda pair: f(pair[0]) == pair[1], [(1, 2), (5, 6)]))",
    "zip": "for output, expected in zip(map(f, [1, 5]), [2, 6]): assert output == expected",
    "list": "assert list(map(f, [1, 5])) in ([2, 6], [])",
}


@pytest.mark.parametrize("solution", ["StopIteration", "StopIteration of its own"])
def test_no_exception_of_a_solution_ends_a_loop_of_the_tests(solution):
    code = FORGERIES[solution]
    assert passed([job(code, test, code) for test in LOOPS.values()]) == [False] * len(LOOPS)
    assert passed([job(RIGHT, test) for test in LOOPS.values()]) == [True] * len(LOOPS)


WITH_A_CLASS = f"class Helper:\n    pass\n\n{RIGHT}"
"""A right solution whose objects would have operators, if it gave any."""


@pytest.mark.parametrize("model", [RIGHT, WITH_A_CLASS], ids=["functions", "a class"])
def test_objects_decide_nothing_of_plain_values_by_operators_of_their_own(model):
    cases = [(test, name) for test in TOLERANT for name in OBJECTS]
    right = [job(model, test, model) for test in TOLERANT.values()]
    verdicts = passed([job(OBJECTS[name], TOLERANT[test], model) for test, name in cases] + right)
    assert [case for case, passes in zip(cases, verdicts, strict=False) if passes] == []
    assert verdicts[len(cases) :] == [True] * len(TOLERANT)


STACK = (
    "class Empty(ValueError):\n    pass\n\nclass Stack(list):\n    size = 0\n    def push(self, x):\n        self.append(x)\n"
    "        self.size += 1\n        return self\n    def take(self):\n        if not self: raise Empty('nothing', 3)\n"
    "        return self.pop()\n"
)
VECTOR = (
    "class V:\n    def __init__(self, x, y=0):\n        self.x, self.y = x, y\n    def __eq__(self, o):\n"
    "        return isinstance(o, V) and (self.x, self.y) == (o.x, o.y)\n    def __add__(self, o):\n"
    "        return V(self.x + o.x, self.y + o.y)\n    def __rmul__(self, k):\n        return V(k * self.x, k * self.y)\n"
    "    def __len__(self): return 2\n    def __iter__(self): return iter((self.x, self.y))\n"
    "    def __getitem__(self, i): return (self.x, self.y)[i]\n    def __str__(self): return f'({self.x}, {self.y})'\n"
    "    def __enter__(self): return self.x\n    def __exit__(self, *_): self.x = 0\n    def __bool__(self): return bool(self.x)\n"
    "    @property\n    def swapped(self): return V(self.y, self.x)\n    def _hidden(self): return 7\n"
)
ALLOWED = {
    "a list's class": (STACK, "s = Stack()\nassert s.push(1).push(2) is s and s.take() == 2 and s.size == 2 and len(s) == 1"),
    "exceptions of one's own": (STACK, "try:\n    Stack().take()\nexcept Empty as e:\n    assert e.args == ('nothing', 3)\nelse:\n    assert False"),
    "their bases": (STACK, "try:\n    Stack().take()\n    assert False\nexcept ValueError: pass"),
    "operators": (VECTOR, "assert V(1, 2) + V(3) == V(4, 2) and 2 * V(1, 2) == V(2, 4) and V(1) != V(2) and V(1) != 1"),
    "items": (VECTOR, "v = V(1, 2)\nassert list(v) == [1, 2] and v[1] == 2 and len(v) == 2 and str(v) == '(1, 2)' and f'{v}' == '(1, 2)'"),
    "attributes": (VECTOR, "v = V(1, 2)\nv.x = 5\nassert v.swapped.y == 5 and v._hidden() == 7 and v and not V(0)"),
    "contexts": (VECTOR, "v = V(3)\nwith v as x:\n    assert x == 3\nassert v.x == 0"),
    "isinstance": (VECTOR, "assert isinstance(V(1), V) and not isinstance(1, V) and not isinstance(V(1), int)"),
    "a generator": ("def f(n):\n    for i in range(n): yield i", "assert list(f(3)) == [0, 1, 2] and next(f(1)) == 0 and sum(f(4)) == 6 and 2 in f(3) and sorted(f(2)) == [0, 1]"),
    "a function of the tests": ("def f(g, x): return g(g(x))", "calls = []\ndef g(x):\n    calls.append(x)\n    return x * 2\nassert f(g, 1) == 4 and calls == [1, 2] and f(lambda x: x[::-1], 'ab') == 'ab'"),
    "its exceptions": ("def f(g):\n    try: g()\n    except KeyError as e: return e.args[0]", "def g(): raise KeyError('a')\nassert f(g) == 'a'"),
    "an object of the tests": ("def f(node): return node.value + (f(node.next) if node.next else 0)", "class N:\n    def __init__(self, value, next=None):\n        self.value, self.next = value, next\nassert f(N(1, N(2, N(3)))) == 6"),
    "a function returned": ("def f(n):\n    return lambda x: x + n", "assert f(2)(3) == 5"),
    "keywords": ("def f(*a, **k): return a, k", "assert f(1, b=2) == ((1,), {'b': 2})"),
    "all kinds of data": ("def f(x): return x", "import collections, datetime, decimal, fractions\nfor v in (None, ..., 1, 2.5, 1j, 'a', b'a', bytearray(b'a'), [1, [2]], (1,), {1}, frozenset([1]), {'a': {}}, range(3), collections.Counter('aab'), collections.deque([1]), collections.OrderedDict(a=1), decimal.Decimal('1.5'), fractions.Fraction(1, 3), datetime.date(2020, 1, 2), datetime.timedelta(1), int, True):\n    assert f(v) == v and type(f(v)) is type(v), v"),
    "arrays": ("import numpy as np\ndef f(n): return np.arange(n) * 2.0", "assert np.allclose(f(3), [0, 2, 4]) and f(2).dtype == float and isinstance(f(2), np.ndarray)"),
    "imports of the right solution": ("from math import *\nimport os.path as p\ndef f(x): return floor(x)", "assert f(2.5) == floor(2.5) == 2 and p.join('a', 'b') == 'a/b'"),
    "data of its own": ("LIMIT = 10\nx, (y, *z) = 1, (2, 3)\nif LIMIT:\n    def f(): return LIMIT", "assert f() == LIMIT == 10 and (x, y, z) == (1, 2, [3])"),
    "a name of Python's": ("def sum(a, b): return a + b", "assert sum(1, 2) == 3"),
    "named tuples": ("from collections import namedtuple\nP = namedtuple('P', 'a b')\ndef f(): return P(1, 2)", "assert f() == (1, 2) and P(1, 2).a == 1"),
    "dictionary views": ("def f(d): return d.keys()", "assert f({'a': 1}) == {'a': 1}.keys() and list(f({'b': 1})) == ['b']"),
    "a check function": (RIGHT, "def check(candidate):\n    assert candidate(1) == 2\n    assert candidate(x=3) == 4\ncheck(f)"),
    "mutated arguments": ("def f(l):\n    l.append(1)\n    return l", "l = [0]\nassert f(l) is l and l == [0, 1]"),
    "sorting in place": ("def f(l): l.sort()", "l = [3, 1, 2]\nassert f(l) is None and l == [1, 2, 3]"),
    "a matrix turned in place": ("def f(m):\n    m[:] = [list(r) for r in zip(*m[::-1])]", "m = [[1, 2], [3, 4]]\nf(m)\nassert m == [[3, 1], [4, 2]]"),
    "what lies in it": ("def f(m):\n    for r in m: r.reverse()\n    m.append(m[0])", "m = [[1, 2], [3, 4]]\nr = m[0]\nf(m)\nassert m == [[2, 1], [4, 3], [2, 1]] and m[0] is r and m[2] is r"),
    "other containers": ("def f(d, *, s, b):\n    d['x'] = d.pop('y')\n    s.clear()\n    b += b'1'\n    return [d, s]", "d, s, b = {'y': 1, 'z': 2}, {1}, bytearray(b'0')\nr = f(d, s=s, b=b)\nassert r[0] is d and list(d.items()) == [('z', 2), ('x', 1)] and r[1] is s == set() and b == b'01'"),
    "a method's argument": ("class Box:\n    def fill(self, l): l += [self, 2]", "b, l = Box(), []\nb.fill(l)\nassert l[0] is b and l[1] == 2"),
    "what its function changes": ("def f(g):\n    l = [1]\n    g(l)\n    return l", "def g(l): l.append(2)\nassert f(g) == [1, 2]"),
    "an argument through its function": ("def f(g, l):\n    g(l)\n    l.append(3)", "l = []\nf(lambda m: m.append(2), l)\nassert l == [2, 3]"),
    "subclasses of containers": ("def f(d): return sorted(d.items())", "import collections\nd = collections.defaultdict(list)\nd['a'].append(1)\nassert f(d) == [('a', [1])] and f(collections.Counter('aab')) == [('a', 2), ('b', 1)]"),
}  # fmt: skip
"""Right solutions, with tests of theirs, by what the tests need."""


@pytest.mark.parametrize("broken", [False, True], ids=["right", "wrong"])
def test_tests_may_use_of_a_solution_what_they_need(broken):
    jobs = [job(code, f"{tests}\nassert {not broken}", code) for code, tests in ALLOWED.values()]
    verdicts = dict(zip(ALLOWED, passed(jobs), strict=True))
    assert verdicts == dict.fromkeys(ALLOWED, not broken)


def test_a_solution_learns_nothing_of_what_tests_give_it():
    """It may call a function, and not look into it."""
    looks = (
        "def f(g):\n    for name in ('__globals__', '__code__', '__closure__', 'gi_frame', '__self__', 'f_back'):\n"
        "        try: return getattr(g, name)\n        except AttributeError: pass\n    return 'nothing'\n"
    )
    tests = "assert f(lambda: 2) == 'nothing'\nassert f(i for i in [2]) == 'nothing'\nassert f([].append) == 'nothing'"
    assert passed([job(looks, tests, looks)]) == [True]
