"""Any task of lm-eval on a trained cell, through the generator that evaluates the cell's own task."""

import contextlib
import difflib
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from lorabench.errors import UserError
from lorabench.files import folder_hash
from lorabench.generation.base import Generator
from lorabench.models.base import Base
from lorabench.schema import decides_by

if TYPE_CHECKING:
    from lm_eval.tasks import TaskManager


def engine_and_window(engine: dict[str, Any]) -> dict[str, Any]:
    """What decides of the engine: itself, and the length at which lm-eval's requests are cut."""
    return {"engine": engine, "max_model_len": engine.get("max_model_len")}


def folder_content(include_path: str | None) -> str | None:
    """What decides of a folder of tasks: what is in it."""
    return None if include_path is None else folder_hash(Path(include_path).expanduser())


OUTPUTS = ("loglikelihood", "loglikelihood_rolling", "multiple_choice", "generate_until")


@dataclass(kw_only=True)
class LMEvalGenerator(Generator):
    """The generator ``engine`` with lm-eval's tasks on top; the cell's own task is answered by ``engine`` as without it.

    Attributes:
        name: as on the command line.
        engine: the generator that serves the weights.
        tasks: names of lm-eval's tasks, groups or tags.
        limit: how many problems of each task to use, a share of them below 1; None for all.
        num_fewshot: worked examples in the prompt; None for each task's own number.
        include_path: a folder with more tasks, one yaml each.
    """

    version: ClassVar[int] = 1

    name: str
    engine: Generator = field(metadata=decides_by(engine_and_window))
    tasks: list[str]
    limit: float | None = None
    num_fewshot: int | None = None
    include_path: str | None = field(default=None, metadata=decides_by(folder_content))
    _base: Base | None = field(default=None, init=False, repr=False)
    _ready: bool = field(default=False, init=False, repr=False)

    def main_memory(self, size: int, device_type: str) -> dict[str, int]:
        """See ``Generator.main_memory``."""
        return self.engine.main_memory(size, device_type)

    def __post_init__(self) -> None:
        self.engine.key = "evaluator.engine"
        if not isinstance(self.tasks, list) or not self.tasks:
            raise UserError(
                f"evaluator.tasks={self.tasks or ''} must be a list of lm-eval tasks, as in evaluator.tasks=[gsm8k]"
            )
        if self.limit is not None and not (0 < self.limit < 1 or (self.limit >= 1 and self.limit == int(self.limit))):
            raise UserError(f"evaluator.limit={self.limit} must be a whole number from 1, a share below 1, or null for all")
        if self.num_fewshot is not None and self.num_fewshot < 0:
            raise UserError(f"evaluator.num_fewshot={self.num_fewshot} must not be negative; null for each task's own number")
        if self.include_path is not None and not Path(self.include_path).expanduser().is_dir():
            raise UserError(f"evaluator.include_path={self.include_path} is no folder; give one with yaml files of tasks")
        if importlib.util.find_spec("lm_eval") is None:
            raise UserError("evaluator=lm_eval needs the package lm-eval; `make install-eval`")
        available = self._manager.all_tasks
        for task in self.tasks:
            if task not in available:
                near = difflib.get_close_matches(task, available, n=3, cutoff=0.6)
                ways = f"did you mean {' or '.join(near)}?" if near else "`lm-eval ls tasks` lists them"
                raise UserError(f"evaluator.tasks: lm-eval has no task {task}; {ways}")

    @property
    def _manager(self) -> "TaskManager":
        return _manager(self.include_path)

    def load(self, base: Base) -> None:
        """Let the engine serve this base model."""
        self._base = base
        self.engine.load(base)

    def use(self, merged: dict[str, torch.Tensor] | None) -> None:
        """Let the engine serve these weights."""
        self.engine.use(merged)

    @property
    def serves_adapted(self) -> bool:  # type: ignore[override]
        """As the engine."""
        return self.engine.serves_adapted

    def use_adapted(self, model: Any) -> None:
        """Let the engine answer through this model."""
        self.engine.use_adapted(model)

    @property
    def lowered(self) -> dict[str, int]:
        """The engine's."""
        return self.engine.lowered

    def close(self) -> None:
        """Let the engine and the base go."""
        self.engine.close()
        self._base = None

    @property
    def max_length(self) -> int:
        """The engine's."""
        return self.engine.max_length

    def answer_limits(self, lengths: Sequence[int], max_new_tokens: int, max_length: int) -> list[int]:
        """The engine's."""
        return self.engine.answer_limits(lengths, max_new_tokens, max_length)

    def generate(self, prompts: Sequence[str], max_new_tokens: int, stop: Sequence[str] = ()) -> list[str]:
        """The engine's completions."""
        return self.engine.generate(prompts, max_new_tokens, stop)

    def loglikelihoods(self, pairs: Sequence[tuple[Sequence[int], Sequence[int]]]) -> list[tuple[float, bool]]:
        """The engine's scores."""
        return self.engine.loglikelihoods(pairs)

    def prepare(self) -> None:
        """Get the tasks' data and check that the tasks can be run here, before anything is trained.

        Raises:
            UserError: data that cannot be had, or a task that samples, runs code or needs more than text.
        """
        for name in self.tasks if not self._ready else ():
            try:
                tasks = self._manager.load([name])["tasks"]
            except Exception as error:  # lm-eval and the hub client raise many kinds
                reason = " ".join(f"{type(error).__name__}: {error}".split())[:160]
                raise UserError(
                    f"evaluator.tasks: cannot load {name} of lm-eval ({reason}); go online once (the hub's cache keeps its "
                    "data), or leave it out"
                ) from error
            for part, task in tasks.items():
                _check(part, task)
        self._ready = True

    def extra_results(self) -> dict[str, Any]:
        """Run the tasks with the weights that are served now.

        Returns:
            ``lm_eval``: for each task (and group, and its members) the metrics under lm-eval's names, each with
            ``…_stderr``, the task's ``version``, the number ``n`` of problems and, if there are any, ``lower_is_better``, the
            names of metrics of which less is better; ``lm_eval_version``; ``lm_eval_max_length``, the tokens at which requests
            were cut on the left and texts divided.
        """
        from lm_eval import simple_evaluate

        from lorabench.generation.harness import Served

        assert self._base is not None
        model = Served(self.engine, self._base)
        with torch.random.fork_rng():  # it seeds torch, for tasks that sample
            evaluation = simple_evaluate(
                model,
                tasks=list(self.tasks),
                num_fewshot=self.num_fewshot,
                limit=self.limit,
                task_manager=self._manager,
                log_samples=False,
            )
        results = {name: _metrics(metrics) for name, metrics in evaluation["results"].items()}
        for name, result in results.items():
            result["version"] = evaluation["versions"].get(name)
            with contextlib.suppress(KeyError):
                result["n"] = evaluation["n-samples"][name]["effective"]
            higher = evaluation.get("higher_is_better", {}).get(name) or {}
            if lower := sorted(metric for metric, is_better in higher.items() if is_better is False):
                result["lower_is_better"] = lower
        versions = {"lm_eval_version": metadata.version("lm_eval"), "lm_eval_max_length": model.max_length}
        return {"lm_eval": results} | versions


@lru_cache(maxsize=2)
def _manager(include_path: str | None) -> "TaskManager":
    """lm-eval's index of tasks, which takes seconds to build."""
    from lm_eval.tasks import TaskManager

    return TaskManager(include_path=str(Path(include_path).expanduser()) if include_path else None)


def _check(name: str, task: Any) -> None:
    """Raise UserError for a task that a greedy generator of text cannot answer, or that runs what it generates."""
    settings = task.config.generation_kwargs or {}
    if task.OUTPUT_TYPE not in OUTPUTS or getattr(task, "MULTIMODAL", False):
        problem = "needs more than text"
    elif getattr(task, "UNSAFE_CODE", False):
        problem = "runs generated code unprotected; task=code runs it in a sandbox"
    elif task.OUTPUT_TYPE == "generate_until" and (settings.get("do_sample") or 0) and settings.get("temperature", 1) > 0:
        problem = "samples its answers, and generators decode greedily"
    else:
        return
    raise UserError(f"evaluator.tasks: {name} {problem}; leave it out")


def _metrics(metrics: dict[str, Any]) -> dict[str, Any]:
    """``{"acc,none": 1, "acc_stderr,none": "N/A"}`` to ``{"acc": 1, "acc_stderr": None}``; other filters keep their name."""
    values = {key.removesuffix(",none"): value for key, value in metrics.items() if "," in key}
    return {key: None if isinstance(value, str) else float(value) for key, value in values.items()}
