"""Limits that a Linux process puts on itself for good: resources, files, privileges, network.

Each function returns whether the kernel granted it; none raises. Constants are those of the kernel's headers, and the calls go
through libc's ``syscall``, so that nothing but the standard library is needed inside the sandbox.
"""

import contextlib
import ctypes
import math
import os
import resource
import signal
import struct
import uuid
from collections.abc import Sequence
from pathlib import Path

FILE_BYTES = 64 << 20  # largest file
OPEN_FILES = 256
PROCESSES = 64  # processes and threads beyond those that the user has already
CPU_SECONDS = 150  # of one check, which ends after 62 s of wall time
MEMORY_BYTES = 4 << 30  # EvalPlus's default

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_CAPBSET_DROP, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 1, 4, 24, 36, 38
CLONE_NEWNET, CLONE_NEWIPC, CLONE_NEWUSER = 0x40000000, 0x08000000, 0x10000000
LANDLOCK_CREATE, LANDLOCK_ADD, LANDLOCK_RESTRICT, CAPSET = 444, 445, 446, {"x86_64": 126, "aarch64": 91}
# Execute, read files and folders, and every right that changes them, by the version of Landlock that knows it
# (linux/landlock.h).
EXECUTE, READ, CHANGE, REFER, TRUNCATE = 1, 0b11 << 2, 1 << 1 | sum(1 << bit for bit in range(4, 13)), 1 << 13, 1 << 14

_libc = ctypes.CDLL(None, use_errno=True)


def call(number: int, *arguments: object) -> int:
    """Make a system call; −1 is failure."""
    return _libc.syscall(ctypes.c_long(number), *arguments)


def prctl(option: int, value: int, argument: object = 0) -> bool:
    """Change an attribute of this process."""
    return _libc.prctl(option, ctypes.c_ulong(value), argument, 0, 0) == 0


def die_with_parent() -> bool:
    """Be killed when the parent (the thread that forked this process) ends."""
    return prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def adopt_orphans() -> bool:
    """Become the parent of descendants whose own parent ends, whatever session they moved to."""
    return prctl(PR_SET_CHILD_SUBREAPER, 1)


def hide() -> bool:
    """Close this process's memory, environment and descriptors in /proc to others of the same user."""
    return prctl(PR_SET_DUMPABLE, 0)


def limit(kind: int, value: int) -> None:
    """Lower a resource limit, soft and hard, for good; a limit that is lower already stays."""
    hard = resource.getrlimit(kind)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(kind, (value, value))


def memory_limit() -> int:
    """Bytes that EvalPlus may ask for: its default, or what the hard limits of this process leave."""
    kinds = (resource.RLIMIT_AS, resource.RLIMIT_DATA, resource.RLIMIT_STACK)
    hard = [resource.getrlimit(kind)[1] for kind in kinds]
    return min([MEMORY_BYTES, *(value for value in hard if value != resource.RLIM_INFINITY)])


def limit_cpu(patience: float = 1.0) -> None:
    """Cap CPU time, at ``CPU_SECONDS`` times ``patience``."""
    limit(resource.RLIMIT_CPU, math.ceil(CPU_SECONDS * patience))


def limit_resources(threads: int) -> None:
    """Cap file size, open files, memory, core dumps and processes (``threads`` + PROCESSES)."""
    limit(resource.RLIMIT_CORE, 0)
    limit(resource.RLIMIT_FSIZE, FILE_BYTES)
    limit(resource.RLIMIT_NOFILE, OPEN_FILES)
    limit(resource.RLIMIT_AS, MEMORY_BYTES)
    limit(resource.RLIMIT_NPROC, threads + PROCESSES)


def leave_network() -> bool:
    """Move to an empty network and IPC namespace, through a user namespace where this process is not privileged."""
    return any(_libc.unshare(flags | CLONE_NEWNET | CLONE_NEWIPC) == 0 for flags in (0, CLONE_NEWUSER))


def drop_privileges(uid: int) -> bool:
    """Change from root to a user without rights; return whether RLIMIT_NPROC now binds (it never binds root)."""
    try:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
        return True
    except (OSError, OverflowError):
        return False


def drop_capabilities() -> bool:
    """Give up all capabilities, now and after any exec; what is left of root is the ownership of its files."""
    for capability in range(64):
        prctl(PR_CAPBSET_DROP, capability)
    number = CAPSET.get(os.uname().machine)
    return number is not None and call(number, struct.pack("Ii", 0x20080522, 0), bytes(24)) == 0


def write_only_below(folder: str, readable: Sequence[str] | None = None) -> bool:
    """Landlock: no file is changed outside ``folder`` and none executed; newer kernels also bar signals and TCP.

    Args:
        folder: where everything is allowed but to execute.
        readable: files and folders beside it that may be read; None for all.
    """
    version = call(LANDLOCK_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint(1))
    if version < 1:
        return False
    files = CHANGE | (REFER if version >= 2 else 0) | (TRUNCATE if version >= 3 else 0)
    reads = 0 if readable is None else READ
    attributes = struct.pack("QQQ", files | reads | EXECUTE, 0b11 if version >= 4 else 0, 0b11 if version >= 6 else 0)
    rules = call(
        LANDLOCK_CREATE, attributes, ctypes.c_size_t(8 if version < 4 else 16 if version < 6 else 24), ctypes.c_uint(0)
    )
    if rules < 0:
        return False
    try:
        allowed = [(folder, files | reads), ("/dev/null", reads & 1 << 2 | files & (1 << 1 | TRUNCATE))]
        for path, rights in [*allowed, *((each, reads if os.path.isdir(each) else reads & 1 << 2) for each in readable or ())]:
            place = os.open(path, os.O_PATH | os.O_CLOEXEC)
            granted = call(LANDLOCK_ADD, rules, 1, struct.pack("=Qi", rights, place), ctypes.c_uint(0))
            os.close(place)
            if granted:
                return False
        return prctl(PR_SET_NO_NEW_PRIVS, 1) and call(LANDLOCK_RESTRICT, rules, ctypes.c_uint(0)) == 0
    finally:
        os.close(rules)


def user_threads() -> int:
    """How many threads the current user has on this machine, as RLIMIT_NPROC counts them."""
    count = 0
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if process.stat().st_uid == os.getuid():
                count += len(os.listdir(process / "task"))
    return count


def descendants(root: int) -> list[int]:
    """Process ids of the children of ``root``, their children, and so on."""
    children: dict[int, list[int]] = {}
    for file in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, IndexError, ValueError):
            parent = int(file.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(file.parent.name))
    pids = [*children.get(root, [])]
    for pid in pids:  # grows while it is walked
        pids.extend(children.get(pid, []))
    return pids


def kill_descendants(root: int, rounds: int = 100) -> bool:
    """Kill all descendants of ``root`` until none is left (they may fork meanwhile); collect them where they are our own."""
    for _ in range(rounds):
        alive = descendants(root)
        if not alive:
            return True
        for signal_number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in alive:
                with contextlib.suppress(OSError):
                    os.kill(pid, signal_number)
        if root == os.getpid():
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
    return False


def empty(folder: str) -> None:
    """Remove all that lies in a folder of this user, whatever rights were taken from it and however deep it is.

    Raises:
        OSError: something resists.
    """
    os.chmod(folder, 0o700)
    while entries := list(os.scandir(folder)):
        for entry in entries:
            if not entry.is_dir(follow_symlinks=False):
                os.unlink(entry.path)
                continue
            os.chmod(entry.path, 0o700)
            for inner in list(os.scandir(entry.path)):
                if inner.is_dir(follow_symlinks=False):
                    os.chmod(inner.path, 0o700)
                    os.rename(inner.path, os.path.join(folder, uuid.uuid4().hex))  # up: no path grows too long
                else:
                    os.unlink(inner.path)
            os.rmdir(entry.path)
