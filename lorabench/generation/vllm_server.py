"""The child process that runs vLLM: it may crash, bind threads and set globals there without touching the training process."""

import contextlib
import functools
import io
import logging
import multiprocessing
import os
import shutil
import signal
import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from tqdm import tqdm

REPORT_EVERY = 1.0  # seconds between two messages on the progress


def serve(pipe: Connection, scratch: Path | None, arguments: dict[str, Any]) -> None:
    """Answer until the parent closes the pipe or ends.

    Messages to the parent are ``("done", result)``, ``("failed", "Type: text of an exception")``, and before one of these any
    number of ``("finished", count of prompts)``.

    Args:
        pipe: takes ``(method of Engine, its arguments)``.
        scratch: a folder of the parent's that goes when the parent ends without having ended this process.
        arguments: those of ``vllm.LLM``.
    """
    os.setsid()  # a group of its own: whatever vLLM starts can be ended with it, and an interrupt is for the parent to handle
    multiprocessing.set_start_method(None, force=True)  # a spawned process has spawn, with locks whose names outlive a kill
    end = threading.Thread(target=_end_with_parent, args=(scratch,), daemon=True)
    end.start()
    server = None
    with contextlib.suppress(EOFError, OSError):
        while True:
            try:
                if server is None:
                    server, result = _Server(pipe, arguments), None
                else:
                    method, values = pipe.recv()
                    result = getattr(server, method)(*values)
            except EOFError:
                break
            except Exception as error:
                pipe.send(("failed", f"{type(error).__name__}: {' '.join(str(error).split())}"))
                if server is None:
                    break
            else:
                pipe.send(("done", result))
    end.join()  # a parent that lives kills this process


def _end_with_parent(scratch: Path | None) -> None:
    """Wait for the parent's end, whatever its cause, then remove the folder and end the whole group, this process included."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    if scratch is not None:
        shutil.rmtree(scratch, ignore_errors=True)
    os.killpg(os.getpgrp(), signal.SIGKILL)


class _Server:
    """The methods of ``Engine``, in the child."""

    def __init__(self, pipe: Connection, arguments: dict[str, Any]):
        # Before vLLM sets its own logger up, some of its files warn by Python's last resort.
        logging.getLogger("vllm").setLevel(os.environ.get("VLLM_LOGGING_LEVEL", "INFO").upper())
        from vllm import LLM

        self.llm = LLM(**arguments)
        self.bar = functools.partial(_Bar, pipe)

    def reload(self, folder: str) -> None:
        self.llm.collective_rpc("reload_weights", kwargs={"weights_path": folder})
        self.llm.reset_prefix_cache()

    def generate(self, prompts: Any, limits: Any, stop: list[str], ends: list[int], adapters: Any) -> list[list[int]]:
        from vllm import SamplingParams

        # The ends are the same as in transformers' generation. Only where there are stop texts does the engine decode.
        greedy = {"temperature": 0, "ignore_eos": True, "stop_token_ids": ends, "stop": stop or None, "detokenize": bool(stop)}
        settings = [SamplingParams(max_tokens=limit, **greedy) for limit in limits]
        inputs = [{"prompt_token_ids": list(ids)} for ids in prompts]
        outputs = self.llm.generate(inputs, settings, use_tqdm=self.bar, lora_request=_requests(adapters))
        return [list(output.outputs[0].token_ids) for output in outputs]

    def prompt_logs(self, prompts: Any) -> list[list[tuple[float, int]]]:
        from vllm import SamplingParams

        # One token is the least that it generates.
        settings = SamplingParams(temperature=0, max_tokens=1, prompt_logprobs=0, detokenize=False)
        outputs = self.llm.generate([{"prompt_token_ids": list(ids)} for ids in prompts], settings, use_tqdm=self.bar)
        logs = []
        for ids, output in zip(prompts, outputs, strict=True):
            steps = [(output.prompt_logprobs[i][ids[i]]) for i in range(1, len(ids))]
            logs.append([(step.logprob, step.rank) for step in steps])
        return logs

    def sleep(self) -> None:
        self.llm.sleep(level=2)

    def wake(self, part: str) -> None:
        self.llm.wake_up(tags=[part])


def _requests(adapters: Any) -> list[Any] | None:
    """vLLM's LoRA requests for the adapters' folders, None without any."""
    if not adapters:
        return None
    from vllm.lora.request import LoRARequest

    numbers = {folder: i for i, folder in enumerate(dict.fromkeys(adapters), 1)}
    return [LoRARequest(folder, numbers[folder], folder) for folder in adapters]


class _Nowhere(io.TextIOBase):
    def write(self, text: str) -> int:
        return len(text)


class _Bar(tqdm):
    """The progress bar of ``LLM.generate``, whose counts go to the parent and nowhere else."""

    monitor_interval = 0  # no thread to redraw it

    def __init__(self, pipe: Connection, *args: Any, **kwargs: Any):
        self.pipe, self.waiting, self.last = pipe, 0, time.monotonic()
        super().__init__(*args, file=_Nowhere(), disable=False, **kwargs)  # a disabled one has no clock, which vLLM reads

    def update(self, n: float | None = 1) -> bool | None:
        if self.iterable is None:  # over an iterable vLLM shows how it prepares the prompts
            self.waiting += int(n or 0)
            if time.monotonic() - self.last >= REPORT_EVERY:
                self._send()
        return super().update(n)

    def close(self) -> None:
        if self.waiting:
            self._send()
        super().close()

    def _send(self) -> None:
        self.pipe.send(("finished", self.waiting))
        self.waiting, self.last = 0, time.monotonic()
