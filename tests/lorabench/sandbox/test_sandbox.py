import contextlib
import os
import pickle
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

pytest.importorskip("evalplus", reason="evalplus is not installed (make install-eval)")

from forgeries import FORGERIES

from lorabench.errors import UserError
from lorabench.sandbox import checks, kernel, launch, player, pool

MODES = [pytest.param(True, id="bubblewrap"), pytest.param(False, id="kernel")]
GOOD = "def f(x):\n    return x + 1\n"


def job(solution, **changed):
    return checks.TRIAL | {"kind": "check", "name": "trial", "solution": solution, "timeout_factor": 30} | changed


def verdicts(solutions, bubblewrap, factor):
    """Verdicts of all, by one worker; a good solution goes after each."""
    if bubblewrap and launch._walls()[0] is None:
        pytest.skip(launch._walls()[1])
    jobs = [check for bad in solutions for check in (job(bad, timeout_factor=factor), job(GOOD))]
    answers = pool.run(jobs, bubblewrap=bubblewrap, workers=1)
    assert answers[1::2] == [{"base": "pass", "plus": "pass"}] * len(solutions)
    return [answer is not None and answer["base"] == "pass" for answer in answers[::2]]


def body(code):
    """A solution whose result is right, if ``code`` goes through without an exception."""
    return "def f(x):\n" + "".join(f"    {line}\n" for line in code.splitlines()) + "    return x + 1\n"


@pytest.mark.parametrize("bubblewrap", MODES)
def test_harm_is_stopped_and_the_next_solution_is_judged_right(bubblewrap, monkeypatch):
    monkeypatch.setenv("TOKEN", "a secret of the parent")
    escaped = Path(tempfile.gettempdir()) / "lorabench-escaped"
    folders, mkdtemp = [], tempfile.mkdtemp
    monkeypatch.setattr(tempfile, "mkdtemp", lambda **options: folders.append(mkdtemp(**options)) or folders[-1])
    server = socket.create_server(("127.0.0.1", 0))
    port = server.getsockname()[1]
    libc = "import ctypes\nc = ctypes.CDLL(None, use_errno=True)\n"
    harm = {
        "endless loop": "while True: pass",
        "endless loop that hides from the alarm": "import signal\nsignal.signal(signal.SIGALRM, signal.SIG_IGN)\n"
        "signal.setitimer(signal.ITIMER_REAL, 0)\nwhile True: pass",
        "fork bomb": libc + "while True:\n    if c.fork() < 0: raise OSError",
        "os.fork": "import importlib, posix\nfor i in range(5): posix.fork() or posix._exit(0)",
        "system": "import os\nassert os.system('true') == 0",
        "system of libc": libc + "assert c.system(b'true') == 0",
        "exec": libc + "c.execv(b'/bin/true', None)\nraise OSError",
        "allocation": "b = bytearray(10 << 30)",
        "file outside": f"import io\nio.open({str(escaped)!r}, 'w').write('x')",
        "file outside, libc": libc + f"assert c.creat({str(escaped).encode()!r}, 0o644) >= 0",
        "file in the root": "import io\nio.open('/lorabench-escaped', 'w')",
        "large file": "import io\nf = io.open('large', 'wb')\nfor _ in range(200): f.write(bytes(1 << 20))",
        "socket": f"import socket\nsocket.create_connection(('127.0.0.1', {port}), 2)",
        "socket, imported again": "import sys, importlib\nsys.modules.pop('socket', 0)\ns = importlib.import_module('socket')\n"
        f"s.create_connection(('127.0.0.1', {port}), 2)",
        "socket of libc": libc + "assert c.socket(2, 1, 0) >= 0",
        "abstract socket": "import _socket\n_socket.socket(1, 1)",
        "secret": "import os\nassert 'TOKEN' in os.environ",
        "secret in /proc": "import io, glob\nassert any(b'a secret of' in io.open(p, 'rb').read() for p in glob.glob('/proc/[0-9]*/environ'))",
        "kill the worker": libc + "import os\nassert c.kill(os.getppid(), 9) == 0",
        "kill the parent": libc + f"assert c.kill({os.getpid()}, 0) == 0",
        "forge the verdict": "import os\nfor i in range(3, 50):\n    try: os.write(i, b'{\"base\": \"pass\", \"plus\": \"pass\"}\\n')\n"
        "    except OSError: pass\nraise ValueError",
        "exit": "import os\nos._exit(0)",
        "crash": "import ctypes\nctypes.string_at(0)",
    }  # fmt: skip
    with server:
        passes = dict(zip(harm, verdicts([body(code) for code in harm.values()], bubblewrap, 1), strict=True))
    assert [name for name, passed in passes.items() if passed] == []
    assert not escaped.exists() and not Path("/lorabench-escaped").exists()
    assert folders and not any(map(os.path.exists, folders))


def test_no_forgery_passes_evalplus_and_right_solutions_do_after_each():
    """The outputs that it compares are plain data from another process, which has never seen what is expected."""
    forged = dict(zip(FORGERIES, verdicts(list(FORGERIES.values()), False, 5), strict=True))
    assert [name for name, passes in forged.items() if passes] == []


@pytest.mark.parametrize("bubblewrap", MODES)
def test_harmless_code_may_do_what_it_needs(bubblewrap):
    """The counterpart: what is refused above is refused for being harmful, and not because nothing works."""
    hashed = [sys.executable, "-c", "print(hash('a'))"]
    harmless = [
        "import io\nio.open('own', 'w').write('x')\nassert io.open('own').read() == 'x'",
        "import heapq, decimal, datetime, itertools, re, collections, hashlib, sqlite3, ssl, numpy",
        "import numpy\nassert (numpy.eye(9) @ numpy.eye(9)).sum() == 9",
        "b = bytearray(1 << 30)",
        "import asyncio\nasync def g(): await asyncio.sleep(0)\nasyncio.run(g())",
        "import os\nassert sorted(k for k in os.environ if k.startswith(('HOME', 'TMP', 'PATH'))) == ['HOME', 'PATH', 'TMPDIR']",
        "import os\nassert os.listdir('.') == []",  # the first one's file is gone
        "print('noise')\nimport ctypes\nctypes.CDLL(None).puts(b'noise')",
        f"assert hash('a') == {int(subprocess.check_output(hashed, env={'PYTHONHASHSEED': '0'}))}",
    ]  # fmt: skip
    assert verdicts([body(code) for code in harmless], bubblewrap, 30) == [True] * len(harmless)


@pytest.mark.parametrize("bubblewrap", MODES)
def test_a_worker_that_dies_or_hangs_is_replaced(bubblewrap, monkeypatch):
    if bubblewrap and launch._walls()[0] is None:
        pytest.skip(launch._walls()[1])
    monkeypatch.setattr(pool, "JOB_SECONDS", 2.0)
    requests = []
    ask = pool.Worker.ask

    def disturbed(self, job, seconds):
        requests.append((job["name"], self.process.pid))
        for pid in [self.process.pid, *kernel.descendants(self.process.pid)]:
            if job["name"] in signals:
                with contextlib.suppress(ProcessLookupError):  # a child of the job before, which ends by itself
                    os.kill(pid, signals[job["name"]])
        return ask(self, job, seconds)

    monkeypatch.setattr(pool.Worker, "ask", disturbed)
    signals = {"dies": signal.SIGKILL, "hangs": signal.SIGSTOP}
    jobs = [job(GOOD, name=name, timeout_factor=1 if name == "hangs" else 30) for name in ("a", "dies", "b", "hangs", "c")]
    answers = pool.run(jobs, bubblewrap=bubblewrap, workers=1)
    assert [answer and answer["plus"] for answer in answers] == ["pass", None, "pass", None, "pass"]
    assert [name for name, _ in requests] == ["a", "dies", "dies", "b", "hangs", "c"]
    assert len({pid for _, pid in requests}) == 4


def test_a_failure_of_the_machine_is_no_failure_of_the_solution():
    with pytest.raises(UserError, match="the sandbox failed at trial: KeyError"):
        pool.run([{"kind": "check", "name": "trial", "truth": checks.TRIAL["truth"], "dataset": "humaneval"}], workers=1)


def test_a_sandbox_that_cannot_start_is_one_line(monkeypatch):
    monkeypatch.setattr(launch, "START", "raise ImportError('no EvalPlus here')")
    with pytest.raises(UserError, match="does not work on this machine: ImportError: no EvalPlus here"):
        pool.run([job(GOOD)], bubblewrap=False, workers=1)


def test_what_is_not_protected_is_said_once(capsys):
    launch.note_gaps.cache_clear()
    for _ in range(2):
        launch.note_gaps(False, ("network",))
    launch.note_gaps(True, ())
    [line] = capsys.readouterr().err.strip().splitlines()
    assert line.endswith("under the kernel's limits alone. Not protected against: network")


def test_workers_that_start_together_say_it_once(capsys):
    launch.note_gaps.cache_clear()
    pool.run([job(GOOD)] * 4, bubblewrap=False, workers=4)
    [line] = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("sandbox:") and line.endswith("under the kernel's limits alone.")


@pytest.mark.parametrize("bubblewrap", MODES)
def test_files_of_a_solution_that_was_killed_are_gone_at_the_next(bubblewrap):
    leaves = body(
        "import io\nio.open('../left', 'w')\nimport signal\nsignal.setitimer(signal.ITIMER_REAL, 0)\nwhile True: pass"
    )
    looks = body("import os\nassert 'left' not in os.listdir('..')")
    assert verdicts([leaves, looks], bubblewrap, 1) == [False, True]


LEFTOVERS = {
    "a folder that is named as multiprocessing's": "os.mkdir('../pymp-mine')\nio.open('../pymp-mine/left', 'w').close()",
    "a file in multiprocessing's own folder": "io.open(glob.glob('../pymp-*')[0] + '/left', 'w').close()",
    "a folder without any rights": "os.mkdir('../a')\nio.open('../a/left', 'w').close()\nposix.mkdir('../a/b', 0)",
    "folders within folders": "for i in range(3000):\n    posix.mkdir('d')\n    posix.chdir('d')",
}
LEAVE = "import glob, importlib, io, os\nposix = importlib.import_module('posix')\n"
FIND = "import os\nfolders = [(folder, names, files) for folder, names, files in os.walk('..')]\n"
FIND += (
    "assert [len(folders), len(folders[0][1]), folders[0][2]] == [4, 3, []], folders"  # its own, EvalPlus's, multiprocessing's
)


@pytest.mark.parametrize("bubblewrap", MODES)
def test_nothing_is_left_for_the_next_solution(bubblewrap):
    """By one worker, which no leftover may kill: there would be a second folder else."""
    solutions = [body(code) for leftover in LEFTOVERS.values() for code in (LEAVE + leftover, FIND)]
    folders, mkdtemp = [], tempfile.mkdtemp
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "mkdtemp", lambda **options: folders.append(mkdtemp(**options)) or folders[-1])
        passes = verdicts(solutions, bubblewrap, 30)
    assert [name for name, passed in zip(LEFTOVERS, passes[::2], strict=True) if not passed] == []  # it was left
    assert [name for name, passed in zip(LEFTOVERS, passes[1::2], strict=True) if not passed] == []
    assert len(folders) == 1 and not os.path.exists(folders[0])


def test_without_landlock_bubblewrap_still_leaves_nothing(monkeypatch, tmp_path):
    blunt = "from lorabench.sandbox import kernel; kernel.write_only_below = lambda *_: False; "
    monkeypatch.setattr(launch, "START", launch.PATHS + blunt + "from lorabench.sandbox.worker import main; main()")
    leave = body("import io\nio.open('/dev/shm/left', 'w').close()")
    find = body("import os\nassert os.listdir('/dev/shm') == []")
    outside = body(f"import io\nio.open({str(tmp_path / 'left')!r}, 'w').close()")
    assert verdicts([leave, find, outside], True, 30) == [True, True, False]


def test_a_worker_that_cannot_clean_up_gives_way_to_another(monkeypatch):
    stuck = "from lorabench.sandbox import worker; worker.Sandbox.clean = lambda self: False; "
    monkeypatch.setattr(launch, "START", launch.PATHS + stuck + "worker.main()")
    folders, mkdtemp = [], tempfile.mkdtemp
    monkeypatch.setattr(tempfile, "mkdtemp", lambda **options: folders.append(mkdtemp(**options)) or folders[-1])
    answers = pool.run([job(GOOD)] * 3, bubblewrap=False, workers=1)
    assert answers == [{"base": "pass", "plus": "pass"}] * 3
    assert len(set(folders)) == 3


@pytest.mark.parametrize(("factor", "verdict"), [(1, "timeout"), (30, "pass")])
def test_the_cap_for_all_tests_of_a_solution_grows_with_the_other_limits(monkeypatch, factor, verdict):
    monkeypatch.setattr(checks, "CAP_SECONDS", 0.5)
    slow = (
        "def f(x):\n    import time\n    end = time.monotonic() + 4\n    while time.monotonic() < end: pass\n    return x + 1\n"
    )
    task = job(slow, timeout_factor=factor, truth=pickle.dumps({"base": [2], "base_time": [9], "plus": [], "plus_time": []}))
    runs = player.start(lambda: None)
    try:
        assert checks.check(task | {"plus_input": []}, runs)["base"] == verdict
    finally:
        os.kill(runs.pid, signal.SIGKILL)
        os.waitpid(runs.pid, 0)
        runs.close()
