"""A lock ends with its process, and who waits for one says for whom, also where that process is frozen."""

import errno
import os
import platform
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from lorabench.files import read_json
from lorabench.records import holding
from lorabench.records.holding import check_locks, held, holder

ROOT = Path(__file__).resolve().parents[3]
HOLDER = """
import sys, time
from pathlib import Path
from lorabench.records.holding import held
with held(Path(sys.argv[1]), "a cell"):
    print("held", flush=True)
    time.sleep(60)
"""

FLOCK = {"x86_64": 73, "aarch64": 32}
WITHOUT_LOCKS = """
import ctypes, struct, sys
from pathlib import Path
from lorabench.errors import UserError
from lorabench.records.holding import check_locks
from lorabench.sandbox.kernel import PR_SET_NO_NEW_PRIVS, prctl
from lorabench.sandbox.seccomp import ALLOW, EQUAL, FILTER, LOAD, NUMBER, PR_SET_SECCOMP, RETURN
number, answer = map(int, sys.argv[2:])
rules = [(LOAD, 0, 0, NUMBER), (EQUAL, 0, 1, number), (RETURN, 0, 0, 0x00050000 + answer), (RETURN, 0, 0, ALLOW)]
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *rule) for rule in rules))
program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(rules), ctypes.addressof(code)))
assert prctl(PR_SET_NO_NEW_PRIVS, 1) and prctl(PR_SET_SECCOMP, FILTER, ctypes.c_void_p(ctypes.addressof(program)))
try:
    check_locks(Path(sys.argv[1]))
except UserError as error:
    print(error)
"""


@pytest.fixture
def other(tmp_path):
    """A process that holds the lock."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, tmp_path / "lock"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_who_waits_says_for_whom_and_takes_over_what_the_dead_held(other, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(holding, "PATIENCE", 0.1)
    since = read_json(tmp_path / "lock.holder")["since"]

    def freeze_and_kill():
        time.sleep(0.5)
        other.send_signal(signal.SIGSTOP)
        time.sleep(0.5)
        other.kill()

    threading.Thread(target=freeze_and_kill).start()
    with held(tmp_path / "lock", "cell 7") as free:
        assert free and read_json(tmp_path / "lock.holder")["pid"] == os.getpid()
    lines = capsys.readouterr().err.splitlines()
    text = f"waiting for cell 7: held by process {other.pid} on {socket.gethostname()} since {since}"
    assert lines == [text, f"{text}, which is stopped: `kill -CONT {other.pid}` lets it go on, `kill -KILL {other.pid}` sets "
                     "the cell free"]  # fmt: skip
    assert [file.name for file in tmp_path.iterdir()] == ["lock"]


def test_who_need_not_wait_is_answered_at_once(other, tmp_path):
    with held(tmp_path / "lock", "a cell", wait=False) as free:
        assert not free and read_json(tmp_path / "lock.holder")["pid"] == other.pid


def test_another_machine_and_a_holder_that_says_nothing_have_lines(tmp_path):
    lock = tmp_path / "lock"
    assert holder(lock) == f"another process holds {lock}, and has not said which"
    (tmp_path / "lock.holder").write_text('{"pid": 7, "host": "node3", "since": "2026-01-01T00:00:00+00:00"}')
    assert "held by process 7 on node3 since 2026-01-01T00:00:00+00:00; if it hangs, end it there" in holder(lock)


@pytest.mark.skipif(sys.platform != "linux", reason="filters system calls")
@pytest.mark.parametrize(
    ("answer", "reason"),
    [(errno.ENOSYS, "Function not implemented"), (errno.ENOLCK, "No locks available"), (0, "a second process gets the lock")],
)
def test_a_folder_without_locks_is_refused(tmp_path, answer, reason):
    """As of a file system without them, by a filter of flock(2) in a process of its own."""
    words = [tmp_path, *map(str, (FLOCK[platform.machine()], answer))]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_LOCKS, *words],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"output_dir={tmp_path}: its file system has no working locks ({reason}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_locks_that_could_not_be_tried_are_said(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(holding, "TAKES", "raise OSError")
    check_locks(tmp_path)
    assert capsys.readouterr().err == f"output_dir={tmp_path}: whether its locks keep another process out could not be tried\n"


def test_a_folder_with_locks_is_right(tmp_path):
    check_locks(tmp_path)
    assert list(tmp_path.iterdir()) == []
