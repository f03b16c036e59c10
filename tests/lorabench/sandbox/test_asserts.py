"""Plain asserts in the sandbox: what passes, and the harm that passes nothing; without EvalPlus, which these jobs do not need."""

import socket
import subprocess
import tempfile
from pathlib import Path

import pytest

import lorabench
from lorabench.errors import UserError
from lorabench.sandbox import launch, pool

MODES = [pytest.param(True, id="bubblewrap"), pytest.param(False, id="kernel")]
GOOD, TESTS = "def f(x):\n    return x + 1\n", "assert f(1) == 2"


def job(solution=GOOD, tests=TESTS, seconds=60.0, model=GOOD):
    return {"kind": "asserts", "name": "trial", "solution": solution, "tests": tests, "model": model, "seconds": seconds}


def passed(jobs, bubblewrap=False):
    """Which of the jobs pass, by one worker; a good one goes after each."""
    if bubblewrap and launch._walls()[0] is None:
        pytest.skip(launch._walls()[1])
    answers = pool.run([each for one in jobs for each in (one, job())], bubblewrap=bubblewrap, workers=1)
    assert answers[1::2] == [{"passed": True, "late": False}] * len(jobs)
    return [answer is not None and answer["passed"] for answer in answers[::2]]


def test_asserts_pass_or_fail():
    right = [
        job(),
        job(tests="assert f(1) == 2\n\n\nassert f(-1) == 0, 'zero'"),
        job("import math, collections, re\n" + GOOD),
        job(GOOD + "\nif __name__ == '__main__':\n    raise SystemExit(1)"),
        job("x = '''open quote\n'''\n" + GOOD, "y = '''another'''\nassert f(1) == 2"),
        job("print('noise')\n" + GOOD, "print(f(1))\nassert f(1) == 2"),
        job(tests="def check(g):\n    assert g(1) == 2\ncheck(f)"),
        job("import threading\nthreading.Thread(target=lambda: __import__('time').sleep(600), daemon=False).start()\n" + GOOD),
    ]
    wrong = [
        job(""),
        job("def f(x):\n    return x\n"),
        job("def f(x:\n"),
        job("x = 1 / 0\n" + GOOD),
        job("input()\n" + GOOD),
        job(GOOD + "x = '''never closed"),
        job(tests="assert f(1) == 2\nassert f(1) == 3"),
        job(tests="assert g(1) == 2"),
        job(tests="assert f(1) =="),
        job("\0" + GOOD),
        job("(" * 5000),
    ]
    assert passed([*right, *wrong]) == [True] * len(right) + [False] * len(wrong)


@pytest.mark.parametrize("bubblewrap", MODES)
def test_harm_passes_nothing_and_reaches_nobody(bubblewrap, monkeypatch):
    monkeypatch.setenv("TOKEN", "a secret of the parent")
    escaped = Path(tempfile.gettempdir()) / "lorabench-escaped-asserts"
    server = socket.create_server(("127.0.0.1", 0))
    libc = "import ctypes\nc = ctypes.CDLL(None, use_errno=True)\n"
    harm = {
        "endless loop": "while True: pass",
        "endless loop that hides from alarms": "import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, range(1, 64))\nwhile True: pass",
        "sleep": "import time\ntime.sleep(600)",
        "leaves": "import os\nos._exit(0)",
        "raises SystemExit": "raise SystemExit(0)",
        "closes everything": "import os\nos.closerange(3, 256)",
        "forges": "import os\nfor i in range(3, 50):\n    try: os.write(i, b'{\"passed\": true, \"late\": false}\\n' + bytes(16))\n    except OSError: pass",
        "forges the length": "import os\nfor i in range(3, 50):\n    try: os.write(i, bytes(16))\n    except OSError: pass\nos._exit(0)",
        "writes for ever": "import os\nfor i in range(3, 50):\n    try:\n        while True: os.write(i, bytes(1 << 16))\n    except OSError: pass",
        "replaces what is called next": "import os\nos.write = os._exit = lambda *_: None\nraise ValueError",
        "recursion": "def g(): return g()\ng()",
        "fork bomb": libc + "while True:\n    if c.fork() < 0: raise OSError",
        "a command": "import os\nassert os.system('true') == 0",
        "allocation": "b = bytearray(10 << 30)",
        "a file outside": f"open({str(escaped)!r}, 'w').write('x')",
        "a large file": "f = open('large', 'wb')\nfor _ in range(200): f.write(bytes(1 << 20))",
        "a socket": f"import socket\nsocket.create_connection(('127.0.0.1', {server.getsockname()[1]}), 2)",
        "the parent's secret": "import os, glob\nassert 'TOKEN' in os.environ or any(b'a secret of' in open(p, 'rb').read() for p in glob.glob('/proc/[0-9]*/environ'))",
        "kills the worker": libc + "import os\nassert c.kill(os.getppid(), 9) == 0",
        "crash": "import ctypes\nctypes.string_at(0)",
    }  # fmt: skip
    slow = ("endless", "sleep", "writes")
    jobs = [job(f"{code}\n{GOOD}", seconds=1.0 if name.startswith(slow) else 60.0) for name, code in harm.items()]
    jobs.append(job(tests="assert f(1) == 2\nwhile True: pass", seconds=1.0))
    with server:
        outcomes = dict(zip([*harm, "endless tests"], passed(jobs, bubblewrap), strict=True))
    assert [name for name, passes in outcomes.items() if passes] == []
    assert not escaped.exists()


REFUSED = {
    "memory of the worker": "import os, resource\nresource.prlimit(os.getppid(), resource.RLIMIT_AS, (1 << 20, 1 << 20))",
    "stack of the worker": "import os, resource\nresource.prlimit(os.getppid(), resource.RLIMIT_STACK, (4096, 4096))",
    "files of the worker": "import os, resource\nresource.prlimit(os.getppid(), resource.RLIMIT_NOFILE, (3, 3))",
    "CPU time of another process": "import os, resource\nresource.prlimit({other}, resource.RLIMIT_CPU, (0, 0))",
    "limits of another process read": "import os, resource\nresource.prlimit({other}, resource.RLIMIT_CPU)",
    "priority of the worker": "import os\nos.setpriority(os.PRIO_PROCESS, os.getppid(), 19)",
    "priority of a user": "import os\nos.setpriority(os.PRIO_USER, os.getuid(), 19)",
    "cores of the worker": "import os\nos.sched_setaffinity(os.getppid(), {{0}})",
    "scheduling of the worker": "import os\nos.sched_setscheduler(os.getppid(), os.SCHED_IDLE, os.sched_param(0))",
    "mode of a file outside": "import os\nos.chmod({file!r}, 0)",
    "mode by a descriptor": "import os\nos.fchmod(os.open({file!r}, os.O_RDONLY), 0)",
    "mode by a relative path": "import os\nos.chmod(os.path.basename({file!r}), 0, dir_fd=os.open(os.path.dirname({file!r}), os.O_RDONLY))",
    "owner of a file outside": "import os\nos.chown({file!r}, os.getuid(), os.getgid())",
    "times of a file outside": "import os\nos.utime({file!r}, (0, 0))",
    "attributes of a file outside": "import os\nos.setxattr({file!r}, 'user.a', b'b')",
}  # fmt: skip
"""By what they touch, calls that the kernel refuses with PermissionError."""


def test_what_reaches_other_processes_or_files_outside_is_refused(tmp_path):
    """Each solution is judged right where its call is refused, and the file outside is as it was."""
    tmp_path.chmod(0o755)
    file = tmp_path / "outside"
    file.write_text("x")
    file.chmod(0o666)
    before = file.stat()
    bystander = subprocess.Popen(["sleep", "600"])
    jobs = []
    for code in REFUSED.values():
        head, _, attack = code.format(other=bystander.pid, file=str(file)).partition("\n")
        jobs.append(
            job(
                f"{head}\ntry:\n    {attack}\nexcept PermissionError:\n    refused = True\n",
                "assert refused",
                model="refused = True",
            )
        )
    try:
        outcomes = pool.run(jobs, bubblewrap=False, workers=1)
    finally:
        bystander.kill()
        bystander.wait()
    refused = {name: bool(answer and answer["passed"]) for name, answer in zip(REFUSED, outcomes, strict=True)}
    assert refused == dict.fromkeys(REFUSED, True)
    after = file.stat()
    assert (after.st_mode, after.st_mtime_ns, after.st_uid) == (before.st_mode, before.st_mtime_ns, before.st_uid)


def test_a_solution_may_look_at_its_own_limits_and_lower_them():
    own = "import os, resource\nresource.setrlimit(resource.RLIMIT_CPU, (9, 9))\nos.sched_setaffinity(0, os.sched_getaffinity(0))\n"
    own += "limits = resource.getrlimit(resource.RLIMIT_CPU)\n"
    assert passed([job(own + GOOD, f"{TESTS}\nassert limits == (9, 9)", model=own + GOOD)]) == [True]


def test_what_runs_too_long_is_told_from_what_fails():
    answers = pool.run([job("while True: pass", seconds=1.0), job("")], bubblewrap=False, workers=1)
    assert answers == [{"passed": False, "late": True}, {"passed": False, "late": False}]


def test_files_of_one_solution_are_gone_at_the_next():
    leaves = job(GOOD + "open('left', 'w').write('x')")
    looks = job("import os\nassert 'left' not in os.listdir('.')\n" + GOOD)
    assert passed([leaves, looks]) == [True, True]


def test_a_worker_runs_this_package_and_no_other_one_that_is_installed(tmp_path):
    """Such as that of another checkout, in editable mode."""
    command = launch._python(launch.PATHS + "import lorabench; print(lorabench.__file__)")
    done = subprocess.run(command, env=launch.environment(str(tmp_path)), cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.strip() == lorabench.__file__, done.stderr


def test_without_evalplus_its_workers_start(monkeypatch):
    """As where `make install-eval` was never called: nothing of a worker for asserts imports it."""
    blind = "import sys; sys.modules['evalplus'] = None; "
    monkeypatch.setattr(launch, "START", blind + launch.START)
    assert passed([job()]) == [True]


def test_a_sandbox_where_no_assert_passes_is_one_line(monkeypatch):
    broken = "from lorabench.sandbox import asserts; asserts.TRIAL['tests'] = 'assert False'; "
    monkeypatch.setattr(launch, "START", launch.PATHS + broken + "from lorabench.sandbox.worker import main; main()")
    with pytest.raises(
        UserError, match="sandbox for generated code does not work on this machine: a right solution was judged"
    ):
        pool.run([job()], bubblewrap=False, workers=1)
