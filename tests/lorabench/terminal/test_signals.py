"""Real signals to real processes: one line, the code of the signal, no traceback, whatever the process is at."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lorabench.terminal import signals

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
ROOT = Path(__file__).resolve().parents[3]
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129, signal.SIGUSR1: 138}


def defaults():
    """As a shell starts a command; a runner of tests may ignore some."""
    for number in CODES:
        signal.signal(number, signal.SIG_DFL)


@pytest.fixture
def started():
    """A function that starts Python with words; what is left of them ends with the test."""
    processes = []

    def start(*words, prepare=defaults):
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(
            [sys.executable, *words], env=environment, stderr=subprocess.PIPE, text=True, preexec_fn=prepare
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def wait_until(process, state):
    deadline = time.monotonic() + 60
    while not state(process.pid):
        assert process.poll() is None and time.monotonic() < deadline, process.stderr.read()
        time.sleep(0.001)


def catches(pid):
    """Whether a process handles SIGTERM, which Python does not by itself."""
    status = Path(f"/proc/{pid}/status").read_text()
    return bool(int(status.partition("SigCgt:")[2].split()[0], 16) >> (signal.SIGTERM - 1) & 1)


def imports_torch(pid):
    return "libtorch" in Path(f"/proc/{pid}/maps").read_text()


def end(process, *numbers, pause=0.0):
    for number in numbers:
        process.send_signal(number)
        time.sleep(pause)
    _, said = process.communicate(timeout=60)
    return process.returncode, said


@pytest.mark.parametrize("number", CODES, ids=lambda number: number.name)
@pytest.mark.parametrize("state", [catches, imports_torch])
def test_the_start_ends_in_one_line(started, tmp_path, number, state):
    if state is imports_torch and number in (signal.SIGHUP, signal.SIGUSR1):
        pytest.skip("the same handler, and seconds")
    process = started("-m", "lorabench", f"output_dir={tmp_path}")
    wait_until(process, state)
    line = "interrupted" if number == signal.SIGINT else f"ended by {number.name}"
    assert end(process, number) == (CODES[number], f"lorabench: {line}\n")


def test_two_at_once_are_one(started, tmp_path):
    process = started("-m", "lorabench", f"output_dir={tmp_path}")
    wait_until(process, catches)
    time.sleep(0.2)
    assert end(process, signal.SIGINT, signal.SIGINT) == (130, "lorabench: interrupted\n")


BUSY = """
import hashlib, sys
from lorabench.terminal import signals
from lorabench.terminal.entry import command
with command():
    signals.leftovers["a file"] = lambda: print("removed", file=sys.stderr, flush=True)
    with signals.held_back():
        print("busy", file=sys.stderr, flush=True)
        hashlib.pbkdf2_hmac("sha256", b"", b"", {rounds})  # in C, where no handler is called
    print("goes on", file=sys.stderr, flush=True)
"""


@pytest.mark.parametrize("number", CODES, ids=lambda number: number.name)
def test_what_is_held_back_is_finished_first(started, number):
    process = started("-c", BUSY.format(rounds=500_000))
    assert process.stderr.readline() == "busy\n"
    line = "interrupted" if number == signal.SIGINT else f"ended by {number.name}"
    assert end(process, number, number) == (CODES[number], f"lorabench: {line}\n")


def test_a_second_ctrl_c_ends_what_hangs(started):
    process = started("-c", BUSY.format(rounds=2**31 - 1))
    assert process.stderr.readline() == "busy\n"
    code, said = end(process, signal.SIGINT, signal.SIGINT, pause=signals.TWICE + 0.05)
    assert (code, said) == (130, "lorabench: interrupted twice: ended at once\nremoved\n")


def test_what_is_ignored_stays_ignored(started):
    process = started("-c", BUSY.format(rounds=300_000), prepare=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    assert process.stderr.readline() == "busy\n"
    assert end(process, signal.SIGHUP) == (0, "goes on\n")


LEAVES = """
import signal
from lorabench.terminal import signals
before = [signal.getsignal(number) for number in signals.ENDS]
with signals.running():
    assert signal.getsignal(signal.SIGTERM) not in before
assert [signal.getsignal(number) for number in signals.ENDS] == before
assert signal.set_wakeup_fd(-1) == -1
"""


def test_a_command_leaves_the_handlers_of_another_process_alone(started):
    process = started("-c", LEAVES)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said


FORKS = """
import os, signal, sys, time
from lorabench.terminal import signals
signals.catch()
for _ in range(2):
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGINT, lambda *_: os._exit(0))
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(10)
    os.waitpid(pid, 0)
    time.sleep(signals.TWICE + 0.1)
print("still here", file=sys.stderr)
"""


def test_signals_of_a_copy_are_its_own(started):
    process = started("-c", FORKS)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (0, "still here\n")
