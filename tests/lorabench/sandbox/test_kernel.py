"""What the kernel refuses a process that has limited itself, each in a child that is thrown away."""

import ctypes
import os
import resource
import socket
import threading
import time
from pathlib import Path

import pytest

from lorabench.sandbox import kernel, seccomp, worker


def in_child(function, *arguments):
    """The result of a function that limits its process, run in a child that is thrown away."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(writer, repr(function(*arguments)).encode())
        finally:
            os._exit(0)
    os.close(writer)
    os.waitpid(pid, 0)
    with open(reader) as answer:
        return answer.read()


def attempt(function, *arguments):
    try:
        function(*arguments)
    except OSError as error:
        return type(error).__name__
    return "done"


def test_landlock_alone_keeps_reads_where_they_are_allowed(tmp_path):
    for name in ("in", "shown"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("x")
    for name in ("answers", "single"):
        (tmp_path / name).write_text("x")

    def function():
        if not kernel.write_only_below(str(tmp_path / "in"), [str(tmp_path / "shown"), str(tmp_path / "single"), "/proc/self"]):
            return "absent"
        read = [tmp_path / "in" / "file", tmp_path / "shown" / "file", tmp_path / "single", Path("/proc/self/stat")]
        hidden = [tmp_path / "answers", Path(f"/proc/{os.getppid()}/environ")]
        return [attempt(place.read_text) for place in (*read, *hidden)] + [attempt(os.listdir, tmp_path)]

    result = in_child(function)
    if result == "'absent'":
        pytest.skip("this kernel has no Landlock")
    assert eval(result) == [*["done"] * 4, *["PermissionError"] * 3]


def test_landlock_alone_keeps_writes_in_the_folder(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "old").write_text("x")

    def function():
        if not kernel.write_only_below(str(tmp_path / "in")):
            return "absent"
        return [
            attempt((tmp_path / "in" / "new").write_text, "x"),
            attempt((tmp_path / "new").write_text, "x"),
            attempt((tmp_path / "old").write_text, "y"),
            attempt(os.unlink, tmp_path / "old"),
            attempt(os.rename, tmp_path / "old", tmp_path / "in" / "old"),
            attempt(os.execv, "/bin/true", ["true"]),
            attempt((tmp_path / "old").read_text),
        ]

    result = in_child(function)
    if result == "'absent'":
        pytest.skip("this kernel has no Landlock")
    assert eval(result) == ["done", *["PermissionError"] * 5, "done"]


def test_seccomp_alone_refuses_processes_sockets_and_signals():
    parent = os.getpid()

    def function():
        if not seccomp.refuse_processes_and_sockets():
            return "absent"
        thread = threading.Thread(target=lambda: None)
        thread.start()
        thread.join()
        return [
            attempt(os.fork),
            attempt(socket.socket),
            attempt(os.kill, parent, 0),
            attempt(os.kill, os.getpid(), 0),
            attempt(socket.socketpair),
        ]

    result = in_child(function)
    if result == "'absent'":
        pytest.skip("this machine has no seccomp filter in our table")
    assert eval(result) == ["PermissionError", "PermissionError", "PermissionError", "done", "done"]


def test_a_users_processes_are_capped_and_descendants_in_sessions_of_their_own_are_killed():
    """What holds where seccomp does not: RLIMIT_NPROC, the adoption of orphans, and the kill."""

    def function():
        kernel.adopt_orphans()
        pid = os.fork()
        if pid == 0:
            if os.getuid() == 0:
                assert kernel.drop_privileges(worker.PRIVATE_UID + os.getpid())
            kernel.limit_resources(kernel.user_threads())
            for _ in range(3 * kernel.PROCESSES):
                if ctypes.CDLL(None).fork() == 0:
                    os.setsid()
                    time.sleep(300)
            os._exit(0)
        os.waitpid(pid, 0)
        before = len(kernel.descendants(os.getpid()))
        return before, kernel.kill_descendants(os.getpid()), len(kernel.descendants(os.getpid()))

    before, killed, after = eval(in_child(function))
    assert kernel.PROCESSES // 2 < before <= kernel.PROCESSES + 1
    assert killed and after == 0


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_root_becomes_a_user_without_rights(tmp_path):
    (tmp_path / "secret").write_text("x")
    (tmp_path / "secret").chmod(0o600)
    result = in_child(
        lambda: (kernel.drop_privileges(worker.PRIVATE_UID), attempt((tmp_path / "secret").read_text), os.getuid())
    )
    assert eval(result) == (True, "PermissionError", worker.PRIVATE_UID)
    without = in_child(lambda: (kernel.drop_capabilities(), attempt(os.chown, tmp_path / "secret", 7, 7)))
    assert eval(without) == (True, "PermissionError")


def test_the_limit_on_cpu_time_grows_too():
    def function(patience):
        kernel.limit_cpu(patience)
        return resource.getrlimit(resource.RLIMIT_CPU)[0]

    assert [eval(in_child(function, patience)) for patience in (1.0, 2.5)] == [kernel.CPU_SECONDS, 2.5 * kernel.CPU_SECONDS]
