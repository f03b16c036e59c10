"""``python -m lorabench.console.workers``: a sweep by several processes on one machine, one for each visible GPU.

``JOBS=N`` says how many instead, ``WORKERS_PER_GPU=2`` how many share a GPU (for small models). All work on one folder, so a
cell that one leaves unfinished is another's.
"""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType

from filelock import FileLock, Timeout

from lorabench.errors import UserError
from lorabench.terminal.bars import note
from lorabench.terminal.entry import command
from lorabench.terminal.progress import WORKER


def visible_gpus() -> list[str]:
    """Indices or UUIDs of the GPUs that this process may use, as ``CUDA_VISIBLE_DEVICES`` takes them."""
    import torch

    stated = os.environ.get("CUDA_VISIBLE_DEVICES")
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
    jobs, stated = whole("JOBS", environment), whole("WORKERS_PER_GPU", environment)
    if not gpus:
        return [None] * (jobs or 1)
    each = stated or -(-(jobs or 1) // len(gpus))
    slots: list[str | None] = [gpu for _ in range(each) for gpu in gpus]
    if jobs is not None and jobs > len(slots):
        raise UserError(
            f"JOBS={jobs} is more than {len(slots)}, WORKERS_PER_GPU={each} on {len(gpus)} visible GPUs; leave one of them out"
        )
    return slots[:jobs]


@contextlib.contextmanager
def claimed(gpus: Sequence[str | None]) -> Iterator[None]:
    """Hold the GPUs, each as often as it is named, against other sweeps of this machine.

    Raises:
        UserError: another one holds one of them.
    """
    with contextlib.ExitStack() as held:
        for place, gpu in enumerate(gpus):
            if gpu is None:
                continue
            slot = gpus[:place].count(gpu)
            file = Path(tempfile.gettempdir()) / f"lorabench-gpu-{gpu.replace('/', '_')}-{slot}.lock"
            try:
                held.enter_context(FileLock(file, timeout=0, mode=0o666))
            except Timeout as error:
                raise UserError(
                    f"GPU {gpu} is used by another sweep of this machine (it holds {file}); wait for it, or name other "
                    "GPUs with CUDA_VISIBLE_DEVICES"
                ) from error
        yield


def environment_of(number: int, gpu: str | None, workers: int) -> dict[str, str]:
    """What a worker gets: its number, its GPU alone, and one thread where several share a CPU."""
    made = {**os.environ, WORKER: str(number)}
    if gpu is not None:
        made["CUDA_VISIBLE_DEVICES"] = gpu
    if workers > 1:
        made.setdefault("OMP_NUM_THREADS", "1")
    return made


def sweep(words: Sequence[str], gpus: Sequence[str | None]) -> int:
    """Run the workers to their end; return the largest exit code.

    A signal that ends this process goes to each of them; the same command goes on from their last checkpoints.
    """
    line = [sys.executable, "-m", "lorabench", *words, *(["-m"] if not {"-m", "--multirun"} & set(words) else [])]
    workers = [
        subprocess.Popen(line, env=environment_of(number, gpu, len(gpus)), stderr=subprocess.PIPE, text=True, errors="replace")
        for number, gpu in enumerate(gpus)
    ]
    said: set[str] = set()
    readers = [threading.Thread(target=_forward, args=(worker, said), daemon=True) for worker in workers]

    def end(number: int, frame: FrameType | None) -> None:
        for worker in workers:
            if worker.poll() is None:
                worker.send_signal(number)

    before = {name: signal.signal(name, end) for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        for reader in readers:
            reader.start()
        codes = [worker.wait() for worker in workers]
        for reader in readers:
            reader.join()
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)
    for number, (code, gpu) in enumerate(zip(codes, gpus, strict=True)):
        if code < 0:
            where = f" on GPU {gpu}" if gpu is not None else ""
            note(f"worker {number}{where} was killed (signal {-code}); its cell is free, and the same command goes on with it")
    return max(code if code >= 0 else 128 - code for code in codes)


def _forward(worker: "subprocess.Popen[str]", said: set[str]) -> None:
    """Pass on what a worker says; what all say alike, once."""
    assert worker.stderr is not None
    for text in worker.stderr:
        if text not in said:
            said.add(text)
            sys.stderr.write(text)
            sys.stderr.flush()


def main() -> None:
    """Run the command line."""
    words = sys.argv[1:]
    if {"-h", "--help"} & set(words):
        print(f"usage: python -m lorabench.console.workers [key=value,value ...]\n\n{__doc__}")
        print("The words are those of `python -m lorabench ... -m`.")
        return
    with command():
        gpus = places(visible_gpus(), os.environ)
        with claimed(gpus):
            code = sweep(words, gpus)
        sys.exit(code)


if __name__ == "__main__":
    main()
