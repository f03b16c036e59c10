"""A vLLM engine in a child process: it may crash, bind threads and set globals there without touching the training process."""

import contextlib
import multiprocessing
import multiprocessing.util  # its exit handler must be there before the owner of an engine registers one
import os
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from typing import Any

START_TIMEOUT = 900.0  # seconds; large models load and compile for minutes


class EngineDied(Exception):
    """The child process or vLLM's own engine process ended; a new one has to be started."""


class EngineError(Exception):
    """vLLM raised an error and lives on; the text is ``Type: message``."""


class Engine:
    """The parent's handle.

    Args:
        settings: environment variables of the child.
        **arguments: those of ``vllm.LLM``.

    Raises:
        EngineError: vLLM refused to start.
        EngineDied: it died in the attempt.
    """

    def __init__(self, settings: dict[str, str], **arguments: Any):
        context = multiprocessing.get_context("spawn")  # a fork would lose the threads that torch has started
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, arguments), daemon=False)
        with _environment(settings):
            self._process.start()
        theirs.close()
        if not self._pipe.poll(START_TIMEOUT):
            self.close()
            raise EngineDied(f"vLLM did not start within {START_TIMEOUT:.0f} s")
        self._receive()

    @property
    def pid(self) -> int | None:
        """Process id of the child."""
        return self._process.pid

    def reload(self, folder: str) -> None:
        """Load the checkpoint of ``folder`` into the running engine and forget all prefixes."""
        self._ask("reload", folder)

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        limits: Sequence[int],
        stop: Sequence[str],
        end: int,
        adapters: Sequence[str] | None = None,
    ) -> list[tuple[list[int], str]]:
        """Greedy token ids and text of each prompt, up to its limit of new tokens, the token ``end`` or a text of ``stop``.

        The text is made only where there are stop texts. ``adapters`` names for each prompt the folder of a PEFT LoRA adapter
        to apply, of an engine made with ``enable_lora``.
        """
        return self._ask("generate", prompts, limits, list(stop), end, adapters)

    def prompt_logs(self, prompts: Sequence[Sequence[int]]) -> list[list[tuple[float, int]]]:
        """Log-probability and rank (1 is the likeliest) of each token of each prompt but the first."""
        return self._ask("prompt_logs", prompts)

    def sleep(self) -> None:
        """Give up the GPU's memory; weights and cache are lost."""
        self._ask("sleep")

    def wake(self, part: str) -> None:
        """Take memory again for ``weights`` or ``kv_cache``."""
        self._ask("wake", part)

    def close(self) -> None:
        """End the child, at once."""
        self._pipe.close()
        for end in (self._process.terminate, self._process.kill):
            if self._process.is_alive():
                end()
                self._process.join(timeout=5)

    def _ask(self, method: str, *arguments: Any) -> Any:
        try:
            self._pipe.send((method, arguments))
        except OSError as error:
            raise EngineDied(f"vLLM's process ended with code {self._process.exitcode}") from error
        return self._receive()

    def _receive(self) -> Any:
        try:
            good, value = self._pipe.recv()
        except (EOFError, OSError) as error:
            self._process.join(timeout=5)
            raise EngineDied(f"vLLM's process ended with code {self._process.exitcode}") from error
        if good:
            return value
        raise (EngineDied if value.startswith("EngineDeadError") else EngineError)(value)


class _Server:
    """The methods of ``Engine``, in the child."""

    def __init__(self, arguments: dict[str, Any]):
        from vllm import LLM

        self.llm = LLM(**arguments)

    def reload(self, folder: str) -> None:
        self.llm.collective_rpc("reload_weights", kwargs={"weights_path": folder})
        self.llm.reset_prefix_cache()

    def generate(self, prompts: Any, limits: Any, stop: list[str], end: int, adapters: Any) -> list[tuple[list[int], str]]:
        from vllm import SamplingParams
        from vllm.lora.request import LoRARequest

        # The end is the same as in transformers' generation, whatever the checkpoint's generation config says.
        common = {"temperature": 0, "ignore_eos": True, "stop_token_ids": [end], "stop": stop or None, "detokenize": bool(stop)}
        settings = [SamplingParams(max_tokens=limit, **common) for limit in limits]
        numbers = {folder: i for i, folder in enumerate(dict.fromkeys(adapters or ()), 1)}
        requests = [LoRARequest(folder, numbers[folder], folder) for folder in adapters] if adapters else None
        inputs = [{"prompt_token_ids": list(ids)} for ids in prompts]
        outputs = self.llm.generate(inputs, settings, use_tqdm=False, lora_request=requests)
        return [(list(output.outputs[0].token_ids), output.outputs[0].text) for output in outputs]

    def prompt_logs(self, prompts: Any) -> list[list[tuple[float, int]]]:
        from vllm import SamplingParams

        settings = SamplingParams(
            temperature=0, max_tokens=1, prompt_logprobs=0, detokenize=False
        )  # it makes one token at least
        outputs = self.llm.generate([{"prompt_token_ids": list(ids)} for ids in prompts], settings, use_tqdm=False)
        found = []
        for ids, output in zip(prompts, outputs, strict=True):
            steps = [(output.prompt_logprobs[i][ids[i]]) for i in range(1, len(ids))]
            found.append([(step.logprob, step.rank) for step in steps])
        return found

    def sleep(self) -> None:
        self.llm.sleep(level=2)

    def wake(self, part: str) -> None:
        self.llm.wake_up(tags=[part])


def _serve(pipe: Connection, arguments: dict[str, Any]) -> None:
    """The child: answer until the parent closes the pipe or ends."""
    server = None
    with contextlib.suppress(EOFError, OSError, KeyboardInterrupt):
        while True:
            try:
                if server is None:
                    server = _Server(arguments)
                    answer: tuple[bool, Any] = (True, None)
                else:
                    method, values = pipe.recv()
                    answer = (True, getattr(server, method)(*values))
            except (EOFError, KeyboardInterrupt):
                break
            except Exception as error:
                answer = (False, f"{type(error).__name__}: {' '.join(str(error).split())}")
            pipe.send(answer)
            if server is None:
                break


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
