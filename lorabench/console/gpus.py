"""GPUs of this machine: which are visible, which worker gets which, and a claim on each against other sweeps."""

import contextlib
import fcntl
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path

from lorabench.errors import UserError

PER_GPU = "WORKERS_PER_GPU"
"""Environment variable that says how many workers share a GPU."""

NONE = ("", "-1", "NoDevFiles")
"""What ``CUDA_VISIBLE_DEVICES`` is where it hides all GPUs."""

DRIVERS = ("/dev/nvidiactl", "/dev/nvmap", "/dev/kfd", "/dev/dxg")
"""Of which a Linux machine with a GPU has one: NVIDIA's cards, its Jetsons, AMD's cards, those of Windows below it."""


def visible_gpus() -> list[str]:
    """Indices or UUIDs of the GPUs that this process may use, as ``CUDA_VISIBLE_DEVICES`` takes them."""
    stated = os.environ.get("CUDA_VISIBLE_DEVICES")
    # Counting by torch takes seconds, which what cannot have a GPU is spared.
    hidden = stated is not None and stated.strip() in NONE
    driven = sys.platform != "linux" or any(os.path.exists(file) for file in DRIVERS)
    if hidden or not driven or metadata.version("torch").endswith("+cpu"):
        return []
    import torch

    count = torch.cuda.device_count()
    return [name.strip() for name in stated.split(",")][:count] if stated else [str(i) for i in range(count)]


def whole(name: str, environment: Mapping[str, str]) -> int | None:
    """A number of processes from the environment, None where it is not set.

    Raises:
        UserError: it is none, or below 1.
    """
    text = environment.get(name, "")
    if not text:
        return None
    if not text.isdecimal() or int(text) < 1:
        raise UserError(f"{name}={text} must be a whole number of at least 1")
    return int(text)


def places(gpus: Sequence[str], environment: Mapping[str, str]) -> list[str | None]:
    """The GPU of each worker, None for the CPU: ``JOBS`` workers in all, ``WORKERS_PER_GPU`` on each GPU, else one.

    >>> places(["0", "1"], {}), places(["0"], {"WORKERS_PER_GPU": "2"}), places([], {"JOBS": "2"})
    (['0', '1'], ['0', '0'], [None, None])

    Raises:
        UserError: more ``JOBS`` than that leaves room for.
    """
    jobs, stated = whole("JOBS", environment), whole(PER_GPU, environment)
    if not gpus:
        return [None] * (jobs or 1)
    each = stated or -(-(jobs or 1) // len(gpus))
    slots: list[str | None] = [gpu for _ in range(each) for gpu in gpus]
    if jobs is not None and jobs > len(slots):
        raise UserError(
            f"JOBS={jobs} is more than {len(slots)}, {PER_GPU}={each} on {len(gpus)} visible GPUs; leave one of them out"
        )
    return slots[:jobs]


@contextlib.contextmanager
def claimed(gpus: Sequence[str | None], shared: int | None = None) -> Iterator[None]:
    """Hold the GPUs against other sweeps of this machine; each claim ends with the process, however that ends.

    Args:
        gpus: of the workers; one may be named several times.
        shared: so many workers of all sweeps may be on a GPU, where each of these sweeps says such a number
            (``WORKERS_PER_GPU``); without, or with 1, a GPU is this sweep's alone.

    Raises:
        UserError: another sweep holds one of them.
    """
    with contextlib.ExitStack() as held:
        names = uuids() if any(gpu is not None for gpu in gpus) else {}
        for gpu in dict.fromkeys(gpu for gpu in gpus if gpu is not None):
            # An index is another GPU in another container or batch job, which may have the same temporary folder.
            name = names.get(gpu) or next((uuid for uuid in names.values() if uuid.startswith(gpu)), gpu)
            file = Path(tempfile.gettempdir()) / f"lorabench-gpu-{name.replace('/', '_')}.lock"
            several = shared is not None and shared > 1
            free = _locks(held, file, fcntl.LOCK_SH if several else fcntl.LOCK_EX)
            for _ in range(gpus.count(gpu) if several else 0):
                slots = (file.with_suffix(f".{slot}.lock") for slot in range(shared or 0))
                free = free and any(_locks(held, slot, fcntl.LOCK_EX) for slot in slots)
            if not free:
                raise UserError(
                    f"GPU {gpu} is used by another sweep of this machine (it holds {file}); wait for it, name other GPUs with "
                    f"CUDA_VISIBLE_DEVICES, or let both share it: each with JOBS=1 {PER_GPU}=2"
                )
        yield


def uuids() -> dict[str, str]:
    """The UUID of each GPU by its index; none where ``nvidia-smi`` does not say."""
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, errors="replace", timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return {}
    return dict(re.findall(r"^GPU (\d+): .*\(UUID: (GPU-[^)]+)\)", listed.stdout, re.MULTILINE))


def _locks(held: contextlib.ExitStack, file: Path, kind: int) -> bool:
    """Lock a file for as long as ``held``, or say at once that another holds it."""
    try:
        # Only read: what another user has made can be locked, too.
        handle = os.open(file, os.O_RDONLY | (0 if file.exists() else os.O_CREAT), 0o644)
    except OSError as error:
        raise UserError(f"{file}, the claim on a GPU, cannot be opened ({error.strerror}); remove it, or set TMPDIR") from error
    with contextlib.suppress(PermissionError):
        os.fchmod(handle, 0o644)  # whatever the umask
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return False
    held.callback(os.close, handle)
    return True
