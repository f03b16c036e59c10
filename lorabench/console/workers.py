"""``lorabench sweep`` by several processes on one machine, one for each visible GPU.

``JOBS=N`` says how many instead, ``WORKERS_PER_GPU=2`` how many share a GPU (for small models). All work on one folder, so a
cell that one leaves unfinished is another's.
"""

import argparse
import os
import subprocess
import sys
import threading
import uuid
from collections.abc import Sequence
from types import FrameType

from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import DictConfig

from lorabench.console.gpus import PER_GPU, places, visible_gpus, whole
from lorabench.errors import UserError
from lorabench.sandbox.kernel import die_with_parent
from lorabench.schema import CONF
from lorabench.terminal import signals
from lorabench.terminal.bars import note
from lorabench.terminal.entry import FULL_ERROR
from lorabench.terminal.progress import SWEEP, WORKER


def places_of(given: argparse.Namespace) -> list[str | None]:
    """The GPU of each worker of a sweep, None for the CPU; one place of what is for one process, none where it needs no GPU.

    Args:
        given: the command line, as Hydra reads it.

    Raises:
        UserError: numbers of workers that cannot be, or several of them on a GPU that ``device`` names.
    """
    if given.cfg or given.help or given.hydra_help or given.info or given.shell_completion:
        return []
    gpus = visible_gpus()
    slots = places(gpus, os.environ)
    if slots == [None] or (cfg := composed(given)) is None:
        return []
    if cfg.plan or any(word.startswith("plan=") and "," in word for word in given.overrides):
        return []
    if not cfg.hydra.launcher._target_.endswith(".BasicLauncher"):
        return _alone("hydra/launcher says where the cells run", [])
    if cfg.device == "cpu":
        slots = places([], os.environ)
    if not cfg.hydra.sweeper._target_.endswith(".GridSweeper"):
        return _alone("a search runs one cell after the other", slots[:1])
    _, _, index = cfg.device.partition(":")
    if not index.isdecimal() or not gpus:
        return slots
    if whole("JOBS", os.environ) not in (None, 1):
        raise UserError(f"device={cfg.device} is one GPU; leave it out, or JOBS (CUDA_VISIBLE_DEVICES names GPUs, too)")
    return [gpus[int(index)]] if int(index) < len(gpus) else []


def composed(given: argparse.Namespace) -> DictConfig | None:
    """The config of a sweep without what it sweeps; None where there is something wrong with it."""
    folders = create_config_search_path(str(CONF))
    if given.config_dir is not None:
        folders.prepend("command-line", f"file://{os.path.abspath(given.config_dir)}", SearchPathQuery(provider="schema"))
    try:
        hydra = Hydra.create_main_hydra2(task_name="workers", config_search_path=folders)
        return hydra.compose_config("config", given.overrides, run_mode=RunMode.MULTIRUN)
    except Exception:  # the one process that then runs says what it is
        return None
    finally:
        GlobalHydra.instance().clear()


def _alone(why: str, slots: list[str | None]) -> list[str | None]:
    """One process, where the user may have asked for several."""
    for name in ("JOBS", PER_GPU):
        if (number := whole(name, os.environ)) is not None and number > 1:
            note(f"{name}={number} is left aside: {why}")
    return slots


def environment_of(number: int, gpu: str | None, workers: int, sweep: str) -> dict[str, str]:
    """What a worker gets: its number, its GPU alone, and one thread where several share a CPU."""
    made = {**os.environ, WORKER: str(number), SWEEP: sweep}
    if gpu is not None:
        made["CUDA_VISIBLE_DEVICES"] = gpu
    if workers > 1:
        made.setdefault("OMP_NUM_THREADS", "1")
    if not FULL_ERROR:  # this process has set it for itself
        made.pop("HYDRA_FULL_ERROR", None)
    return made


def _prepare() -> None:
    die_with_parent()
    signals.wait_for_catch()


class Workers:
    """Processes that share a sweep, and the lines that they say.

    A signal that ends this process goes to each of them; the same command goes on from their last checkpoints.
    """

    def __init__(self, words: Sequence[str], gpus: Sequence[str | None]):
        self.line = [sys.executable, "-m", "lorabench", *words]
        self.gpus = gpus
        self._processes: list[subprocess.Popen[str]] = []
        self._said: dict[str, int] = {}
        self._saying = threading.Lock()
        self._sweep = uuid.uuid4().hex
        self._ended_by: int | None = None

    def run(self) -> int:
        """Run them to their end; return the largest exit code, that of a killed one as a shell has it."""
        with signals.passed_to(self._end):
            for number, gpu in enumerate(self.gpus):
                self._start(number, gpu)
            readers = [threading.Thread(target=self._follow, args=(number,)) for number in range(len(self._processes))]
            for reader in readers:
                reader.start()
            for reader in readers:
                while reader.is_alive():
                    reader.join(1.0)  # a signal between two instructions would wait for its end, without a limit
        if self._ended_by is not None:
            note(f"the workers were ended (signal {self._ended_by}); the same command goes on")
        codes = [process.wait() for process in self._processes]
        return max((code if code >= 0 else 128 - code for code in codes), default=128 + (self._ended_by or 0))

    def _start(self, number: int, gpu: str | None) -> None:
        if self._ended_by is not None:
            return
        environment = environment_of(number, gpu, len(self.gpus), self._sweep)
        self._processes.append(
            subprocess.Popen(
                self.line,
                env=environment,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                process_group=0,  # or Ctrl-C would come twice, from the terminal and from here
                # Else it would go on without the claim on its GPU, and nobody would read what it says.
                preexec_fn=_prepare if sys.platform == "linux" else None,
            )
        )
        if self._ended_by is not None:  # between the two lines
            self._processes[-1].send_signal(self._ended_by)

    def _end(self, number: int, frame: FrameType | None) -> None:
        self._ended_by = number
        for process in self._processes:
            process.send_signal(number)  # none to one that has ended

    def _follow(self, number: int) -> None:
        """Pass on what a worker says; what several say alike, once. Then tell of an end by force."""
        process, gpu = self._processes[number], self.gpus[number]
        assert process.stderr is not None
        for text in process.stderr:
            with self._saying:
                if self._said.setdefault(text, number) == number:
                    sys.stderr.write(text)
                    sys.stderr.flush()
        code = process.wait()
        if code < 0 and self._ended_by is None:
            where = f" on GPU {gpu}" if gpu is not None else ""
            note(
                f"worker {number}{where} was killed (signal {-code}); its cell is free for another worker, "
                "and the same command goes on"
            )
