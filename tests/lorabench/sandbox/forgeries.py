"""What a wrong solution of ``f(x) = x + 1`` may try to be judged right."""

YES = "class Yes:\n" + "".join(
    f"    def __{name}__(self, *other): return True\n"
    for name in ("eq", "lt", "le", "gt", "ge", "bool", "contains", "isinstance")
)  # fmt: skip
ZERO = "class Zero(float):\n" + "".join(
    f"    def __{name}__(self, *other): return 0.0\n" for name in ("sub", "rsub", "add", "radd", "abs", "float", "round")
)
FRAMES = "import sys\ndef f(x):\n    frame = sys._getframe()\n    while frame:\n"
FORGERIES = {
    "an object that equals all": f"{YES}def f(x): return Yes()",
    "a number that equals all": "class I(int):\n    def __eq__(self, other): return True\n    __hash__ = int.__hash__\ndef f(x): return I(0)",
    "a list that equals all": "class L(list):\n    def __eq__(self, other): return True\ndef f(x): return L()",
    "a text that equals all": "class S(str):\n    def __eq__(self, other): return True\n    __hash__ = str.__hash__\ndef f(x): return S()",
    "a proxy of Python's": "from unittest.mock import ANY\ndef f(x): return ANY",
    "a mock": "from unittest.mock import MagicMock\nm = MagicMock()\nm.__eq__ = lambda self, other: True\ndef f(x): return m",
    "not a number's difference": f"{ZERO}def f(x): return Zero('nan')",
    "NumPy's empty comparison": "import numpy\ndef f(x): return numpy.array([])",
    "asserts taken out by flags": "import sys\nsys.flags = None\ndef f(x): return 0",
    "AssertionError replaced": "import builtins\nclass AssertionError(BaseException): pass\nbuiltins.AssertionError = AssertionError\ndef f(x): raise builtins.AssertionError",
    "builtins replaced": "import builtins\nbuiltins.exec = builtins.compile = builtins.__build_class__ = lambda *_: None\nbuiltins.all = builtins.any = builtins.abs = builtins.len = lambda *_: True\ndef f(x): return 0",
    "the exit": "import os\nos._exit(0)",
    "the exit in a call": "import os\ndef f(x): os._exit(0)",
    "sys.exit in a call": "import sys\ndef f(x): sys.exit(0)",
    "atexit": "import atexit, os\natexit.register(os._exit, 0)\ndef f(x): return 0",
    "a trace function": "import sys\ndef trace(frame, event, arg):\n    frame.f_trace_lines = False\n    return trace\nsys.settrace(trace)\ndef f(x): return 0",
    "a profile function": "import sys\nsys.setprofile(lambda *_: None)\ndef f(x): return 0",
    "frames, expected values": FRAMES + "        for v in frame.f_locals.values():\n            if isinstance(v, list) and len(v) == 2: return v[0]\n        frame = frame.f_back\n    return 0",
    "frames, names of the tests": FRAMES + "        frame.f_globals.update(f=lambda x: 2, passed=True, all=lambda *_: True)\n        for name in ('tests', 'expected', 'job'): \n            if name in frame.f_globals: return 2\n        frame = frame.f_back\n    return 0",
    "frames, constants of the tests' code": FRAMES + "        if 'tests' in frame.f_code.co_filename: return frame.f_code.co_consts[1]\n        frame = frame.f_back\n    return 0",
    "garbage collector, texts": "import gc, re\ndef f(x):\n    for o in gc.get_objects():\n        if isinstance(o, dict):\n            for v in list(o.values()):\n                if isinstance(v, str) and (m := re.search(rf'f\\({x}\\) == (\\d+)', v)): return int(m[1])\n    return 0",
    "garbage collector, peers": "import gc\ndef f(x):\n    for o in gc.get_objects():\n        if type(o).__name__ == 'Peer':\n            o.send(('value', True)); o.gone = False\n    return 0",
    "memory of the process": "import re\ndef f(x):\n    with open('/proc/self/maps') as maps:\n        spans = [l.split()[0].split('-') for l in maps if 'rw' in l and '[' not in l]\n    with open('/proc/self/mem', 'rb') as memory:\n        for a, b in spans:\n            try: memory.seek(int(a, 16)); raw = memory.read(int(b, 16) - int(a, 16))\n            except OSError: continue\n            if m := re.search(rb'assert f\\(%d\\) == (\\d+)' % x, raw): return int(m[1])\n    return 0",
    "memory of other processes": "import glob, re\ndef f(x):\n    for name in glob.glob('/proc/[0-9]*/mem'):\n        try: open(name, 'rb')\n        except OSError: continue\n        if str(__import__('os').getpid()) not in name: return x + 1\n    return 0",
    "arguments of processes": "import glob, re\ndef f(x):\n    for name in glob.glob('/proc/[0-9]*/cmdline'):\n        if b'assert f' in open(name, 'rb').read(): return x + 1\n    return 0",
    "the pipe, a value": "import os, pickle, struct\nraw = pickle.dumps(('value', None))\nfor i in range(3, 64):\n    try: os.write(i, struct.pack('Q', len(raw)) + raw)\n    except OSError: pass\ndef f(x): return 0",
    "the pipe, verdicts": "import os\nfor i in range(3, 64):\n    try: os.write(i, b'{\"passed\": true, \"late\": false}\\n')\n    except OSError: pass\ndef f(x): return 0",
    "the pipe, hostile pickle": "import os, pickle, struct\nraw = b'cbuiltins\\nexec\\n(Vf = lambda x: x + 1\\ntR.'\ndef f(x):\n    for i in range(3, 64):\n        try: os.write(i, struct.pack('Q', len(raw)) + raw)\n        except OSError: pass",
    "the pipe, a class altered": "import os, struct\nraw = b'\\x80\\x05ccollections\\nCounter\\nN}X\\x06\\0\\0\\0__eq__cbuiltins\\nbool\\ns\\x86b.'\ndef f(x):\n    for i in range(3, 64):\n        try: os.write(i, struct.pack('Q', len(raw)) + raw)\n        except OSError: pass",
    "the pipe, endless length": "import os\ndef f(x):\n    for i in range(3, 64):\n        try: os.write(i, b'\\xff' * 8)\n        except OSError: pass",
    "pickling replaced": "import pickle, copyreg\npickle.dumps = lambda *_: b''\ncopyreg.pickle(int, lambda i: (eval, ('2',)))\nclass R:\n    def __reduce__(self): return eval, ('f.__class__',)\ndef f(x): return R()",
    "a thread that goes on": "import threading\nresult = [0]\ndef spin():\n    while True: result[0] += 1\nthreading.Thread(target=spin, daemon=True).start()\ndef f(x): return result",
    "a generator that never ends": "def f(x):\n    while True: yield 2",
    "every number in turn": "import itertools\nc = itertools.count()\ndef f(x): return next(c)",
    "the module of the tests": "import sys\nfor name in ('tests', 'asserts', 'lorabench.sandbox.asserts', 'lorabench.sandbox.checks', 'lorabench.sandbox.peer'):\n    m = sys.modules.get(name)\n    if m:\n        for key in list(vars(m)): \n            if not key.startswith('__'): setattr(m, key, lambda *a, **k: True)\ndef f(x): return 0",
    "NumPy's allclose": "import numpy\nnumpy.allclose = numpy.testing.assert_allclose = lambda *a, **k: True\ndef f(x): return 0.0",
    "a recursive list": "def f(x):\n    l = []\n    l.append(l)\n    return l",
    "a list nested too deep": "def f(x):\n    l = []\n    for _ in range(100000): l = [l]\n    return l",
    "100 MB": "def f(x): return bytes(100 << 20)",
    "StopIteration": "def f(x): raise StopIteration",
    "StopIteration of its own": "class S(StopIteration): pass\ndef f(x): raise S",
    "a name of Python's": "sum = len = print\ndef g(x): return x + 1",
    "recursion": "def f(x): return f(x)",
    "signals": "import signal\nfor s in (signal.SIGALRM, signal.SIGTERM, signal.SIGUSR1): signal.signal(s, signal.SIG_IGN)\ndef f(x): return 0",
    "a stopped worker": "import os, signal\ndef f(x):\n    try: os.kill(os.getppid(), signal.SIGSTOP)\n    except OSError: return 0",
}  # fmt: skip
"""Solutions by what they try; each returns something wrong."""
