"""A vLLM engine in a child process (``vllm_server``), as its parent sees it."""

import contextlib
import multiprocessing
import multiprocessing.util  # its exit handler must be there before the owner of an engine registers one
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from lorabench.generation.vllm_server import serve
from lorabench.models.devices import visible_alone

START_TIMEOUT = 900.0  # seconds; large models load and compile for minutes
END_TIMEOUT = 5.0  # seconds until processes that were killed are gone

Report = Callable[[int], None]
"""Gets the number of prompts that have been finished since the last call."""


class EngineDied(Exception):
    """The child process or vLLM's own engine process ended; a new one has to be started."""


class EngineError(Exception):
    """vLLM raised an error and lives on; the text is ``Type: message``."""


class Engine:
    """The parent's handle.

    Args:
        settings: environment variables of the child.
        scratch: folder that the child removes where this process ends without closing the engine, killed for example.
        **arguments: those of ``vllm.LLM``.

    Raises:
        EngineError: vLLM refused to start.
        EngineDied: it died in the attempt.
    """

    def __init__(self, settings: dict[str, str], scratch: Path | None = None, **arguments: Any):
        context = multiprocessing.get_context("spawn")  # a fork would lose the threads that torch has started
        self._pipe, child_pipe = context.Pipe()
        self._process = context.Process(target=serve, args=(child_pipe, scratch, arguments), daemon=False)
        with _environment(settings):
            self._process.start()
        child_pipe.close()
        try:
            self._receive(START_TIMEOUT)
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int | None:
        """Process id of the child, which leads a process group of its own."""
        return self._process.pid

    def reload(self, folder: str) -> None:
        """Load the checkpoint of ``folder`` into the running engine and forget all prefixes."""
        self._ask("reload", folder)

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        limits: Sequence[int],
        stop: Sequence[str],
        ends: Sequence[int],
        adapters: Sequence[str] | None = None,
        report: Report | None = None,
    ) -> list[list[int]]:
        """Greedy token ids of each prompt, up to its limit of new tokens, a token of ``ends`` or a text of ``stop``.

        ``adapters`` names for each prompt the folder of a PEFT LoRA adapter to apply, of an engine made with ``enable_lora``.
        """
        return self._ask("generate", prompts, limits, list(stop), list(ends), adapters, report=report)

    def prompt_logs(self, prompts: Sequence[Sequence[int]], report: Report | None = None) -> list[list[tuple[float, int]]]:
        """Log-probability and rank (1 is the likeliest) of each token of each prompt but the first."""
        return self._ask("prompt_logs", prompts, report=report)

    def sleep(self) -> None:
        """Give up the GPU's memory; weights and cache are lost."""
        self._ask("sleep")

    def wake(self, part: str) -> None:
        """Take memory again for ``weights`` or ``kv_cache``."""
        self._ask("wake", part)

    def close(self) -> None:
        """End the child and all that it has started, at once, and see them go: they hold memory."""
        if self._pipe.closed or self.pid is None:
            return
        self._pipe.close()
        group, until = self.pid, time.monotonic() + END_TIMEOUT
        with contextlib.suppress(ProcessLookupError):  # vLLM's own engine process is in this group, even as an orphan
            os.killpg(group, signal.SIGKILL)
        self._process.kill()  # at the very start it leads no group yet
        self._process.join(END_TIMEOUT)
        with contextlib.suppress(ProcessLookupError, PermissionError):  # as long as one is left
            while time.monotonic() < until:
                os.killpg(group, 0)
                time.sleep(0.02)

    def _ask(self, method: str, *arguments: Any, report: Report | None = None) -> Any:
        try:
            self._pipe.send((method, arguments))
            return self._receive(report=report)
        except EngineError:
            raise
        except OSError as error:
            raise self._death() from error
        except BaseException:  # an interrupt, say: the answer that is still to come would be taken for the next one's
            self.close()
            raise

    def _receive(self, timeout: float = float("inf"), report: Report | None = None) -> Any:
        until = time.monotonic() + timeout
        while True:
            # Looked at now and then: a process that the child has forked keeps the pipe open when the child dies.
            while not self._pipe.poll(min(1.0, timeout)):
                if not self._process.is_alive() and not self._pipe.poll():
                    raise self._death()
                if time.monotonic() > until:
                    raise EngineDied(f"vLLM did not start within {timeout:.0f} s")
            try:
                kind, value = self._pipe.recv()
            except (EOFError, OSError) as error:
                raise self._death() from error
            if kind == "done":
                return value
            if kind == "failed":
                raise (EngineDied if value.startswith("EngineDeadError") else EngineError)(value)
            if report is not None:
                report(value)

    def _death(self) -> EngineDied:
        self._process.join(END_TIMEOUT)
        code = self._process.exitcode
        self.close()
        return EngineDied(f"vLLM's process ended with code {code}")


def environment(device: torch.device, kv_cache_gib: int) -> dict[str, str]:
    """Variables for an engine on a device; what the user has set stays, and of the visible GPUs only the device is left."""
    settings = {"VLLM_LOGGING_LEVEL": "ERROR", "VLLM_NO_USAGE_STATS": "1", "VLLM_CPU_KVCACHE_SPACE": str(kv_cache_gib)}
    # Lines at the start that no user can mend: on NUMA, and on a deprecated name that vLLM looks up in torch.
    settings |= {"TORCH_CPP_LOG_LEVEL": "ERROR"}
    settings |= {"PYTHONWARNINGS": "ignore:`torch.distributed.reduce_op` is deprecated:FutureWarning"}
    settings |= {"JOBLIB_MULTIPROCESSING": "0"}  # unused, and when killed it leaves a semaphore in shared memory
    if device.type == "cpu":
        # One process with all our threads: by itself vLLM adds a scheduler process that spins, and keeps a core for it.
        settings |= {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
        settings |= {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    unset = {key: value for key, value in settings.items() if key not in os.environ}
    return unset | {"CUDA_VISIBLE_DEVICES": visible_alone(device, os.environ.get("CUDA_VISIBLE_DEVICES"))}


@contextlib.contextmanager
def _environment(settings: dict[str, str]) -> Iterator[None]:
    """Environment variables for a child; the parent's are as before afterwards."""
    before = {key: os.environ.get(key) for key in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for key, value in before.items():
            if value is None:
                del os.environ[key]
            else:
                os.environ[key] = value
