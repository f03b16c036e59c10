"""The command that starts a worker: inside bubblewrap where that works, else with the kernel's limits alone."""

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import lorabench
from lorabench.terminal.bars import note

FOLDER = "/sandbox"  # the temporary folder as it is called inside bubblewrap
FOLDER_BYTES = 512 << 20
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64")
KERNEL = ("/dev/random", "/dev/urandom", "/dev/zero", "/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/sys")
"""What libraries ask of the kernel, of which nothing tells of other processes."""
SYSTEM_FILES = ("/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/alternatives", "/etc/localtime")
PATHS = (  # this package before an installed one, which another checkout may be, and behind Python's own
    "import sys; ours, *packages = sys.argv.pop(1).split(':'); "
    "sys.path.insert(min(i for i, p in enumerate([*sys.path, *packages]) if p in packages), ours); sys.path += packages; "
)
START = PATHS + "from lorabench.sandbox.worker import main; main()"
PROBE_SECONDS = 60


def environment(folder: str) -> dict[str, str]:
    """All variables that a worker sees: nothing of the parent's but where shared libraries lie.

    Strings hash the same in every run, so that a solution which depends on a set's order always gets the same verdict.
    """
    threads = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}
    libraries = {key: os.environ[key] for key in ("LD_LIBRARY_PATH",) if key in os.environ}
    places = {"PATH": "/usr/bin:/bin", "HOME": folder, "TMPDIR": folder, "LANG": "C.UTF-8", "PYTHONHASHSEED": "0"}
    return places | threads | libraries


def _package_folders() -> list[str]:
    """Folders of ``sys.path`` that hold installed packages."""
    return [entry for entry in sys.path if Path(entry).name in ("site-packages", "dist-packages") and os.path.isdir(entry)]


def _python(code: str) -> list[str]:
    """Python without the user's settings (-s, -P), with the packages of this one."""
    folders = [str(Path(lorabench.__file__).parents[1]), *_package_folders()]
    return [sys.executable, "-s", "-P", "-B", "-c", code, ":".join(folders)]


def _readable() -> Iterator[str]:
    """Folders and files that Python and the worker need, besides the system's."""
    package = Path(lorabench.__file__).parent
    spec = importlib.util.find_spec("evalplus")
    needed = [sys.prefix, sys.base_prefix, os.path.dirname(os.path.realpath(sys.executable)), *_package_folders()]
    needed += [str(Path(spec.origin).parents[1])] if spec and spec.origin else []
    needed += filter(None, os.environ.get("LD_LIBRARY_PATH", "").split(":"))
    for place in needed:
        yield from (os.path.abspath(place), os.path.realpath(place))
    yield from (str(package / "__init__.py"), str(package / "sandbox"))


def _bubblewrap(program: str) -> list[str]:
    """Own users, processes, network and IPC; only what is needed is visible, and nothing but ``FOLDER`` can be written."""
    limits = subprocess.run([program, "--help"], capture_output=True, text=True, timeout=PROBE_SECONDS).stdout
    size = ["--size", str(FOLDER_BYTES)] if "--size" in limits else []
    walls = (
        "--unshare-user --unshare-pid --unshare-net --unshare-ipc --unshare-uts --unshare-cgroup-try --uid 65534 --gid 65534"
    )
    command = [program, *walls.split(), "--cap-drop", "ALL", "--die-with-parent", "--new-session", "--clearenv"]
    for key, value in environment(FOLDER).items():
        command += ["--setenv", key, value]
    command += ["--proc", "/proc", "--dev", "/dev", *size, "--tmpfs", "/tmp", *size, "--tmpfs", FOLDER]
    bound: list[str] = []
    for place in dict.fromkeys([*SYSTEM, *SYSTEM_FILES, *_readable()]):
        if place in SYSTEM and os.path.islink(place):
            command += ["--symlink", os.readlink(place), place]
        elif os.path.exists(place) and place != "/" and not any(place.startswith(f"{outer}/") for outer in bound):
            command += ["--ro-bind", place, place]
            bound.append(place)
    return [*command, "--remount-ro", "/", "--remount-ro", "/tmp", "--chdir", FOLDER, "--"]


@cache
def _walls() -> tuple[list[str] | None, str]:
    """The start of bubblewrap's command where it works on this machine, and else the reason."""
    program = shutil.which("bwrap")
    if program is None:
        return None, "bubblewrap (bwrap) is not installed"
    try:
        command = _bubblewrap(program)
        evalplus = "evalplus.eval, " if importlib.util.find_spec("evalplus") else ""
        trial = _python(PATHS + f"import {evalplus}lorabench.sandbox.worker")
        result = subprocess.run([*command, *trial], capture_output=True, text=True, timeout=PROBE_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        return None, f"bubblewrap does not work here ({type(error).__name__})"
    if result.returncode:
        lines = result.stderr.strip().splitlines() or [f"exit code {result.returncode}"]
        return None, f"bubblewrap does not work here ({lines[-1][:120]})"
    return command, ""


def command(folder: str, bubblewrap: bool = True, jobs: str = "evalplus") -> tuple[list[str], bool]:
    """The command line of a worker, and whether it has bubblewrap's walls.

    Args:
        folder: serves where it has none.
        bubblewrap: whether to use it where it works.
        jobs: ``asserts`` where all are of that kind, which needs no EvalPlus.
    """
    start, _ = _walls() if bubblewrap else (None, "")
    if start:
        return [*start, *_python(START), FOLDER, "walls", jobs], True
    readable = dict.fromkeys([*SYSTEM, *KERNEL, "/etc", *_readable()])
    return [*_python(START), folder, "open", jobs, *filter(os.path.exists, readable)], False


@cache
def note_gaps(walls: bool, missing: tuple[str, ...]) -> None:
    """Say what generated code could still do on this machine; once a process, since it is the same for every cell.

    Args:
        walls: whether workers have bubblewrap's.
        missing: protections that the kernel did not grant them.
    """
    if walls and not missing:
        return
    reason = "" if walls else f" {_walls()[1] or 'no bubblewrap'}, so generated code runs under the kernel's limits alone."
    note(f"sandbox:{reason}" + (f" Not protected against: {', '.join(missing)}" if missing else ""))
