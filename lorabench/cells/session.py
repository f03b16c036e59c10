"""What a process holds for all its cells. Nothing process-wide lives elsewhere."""

import gc
import time
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from lorabench.cells.parts import build
from lorabench.contributed import reason
from lorabench.files import digest
from lorabench.generation.base import Generator
from lorabench.models.devices import resolve_dtype
from lorabench.models.fingerprint import fingerprint
from lorabench.models.load import load
from lorabench.terminal.bars import note
from lorabench.terminal.progress import Progress
from lorabench.trackers.base import Tracker
from lorabench.training.data import Corpora, Corpus

if TYPE_CHECKING:
    import torch

    from lorabench.models.base import Base
    from lorabench.schema import ModelConfig
    from lorabench.tasks.base import Task

T = TypeVar("T")


class Session:
    """Base model, tokenised data, tasks, generators and progress, loaded once and lent to one cell after the other.

    Of models and data the last ones are kept: two models may not fit.

    Attributes:
        progress: of the sweep.
    """

    def __init__(self) -> None:
        self.progress = Progress()
        self._noted: set[str] = set()
        self._first: dict[str, float] = {}
        self._parts: dict[str, Any] = {}
        self._memories: dict[str, dict[str, Any]] = {}
        self._base: tuple[str, Base] | None = None
        self._corpora: tuple[Any, Corpora] | None = None

    def note_once(self, text: str) -> None:
        """Print a line that says the same for many cells."""
        if text not in self._noted:
            self._noted.add(text)
            note(text)

    def seconds_since(self, name: str) -> float:
        """Seconds since this was first asked for that name."""
        return time.monotonic() - self._first.setdefault(name, time.monotonic())

    def part(self, node: dict[str, Any], key: str, kind: type[T]) -> T:
        """``build``, once for the same settings: tasks keep their data, generators their engines."""
        name = digest([key, node])
        if name not in self._parts:
            self._parts[name] = build(node, key, kind)
        return self._parts[name]

    def kept(self, key: str, make: Callable[[], Any]) -> Any:
        """What ``make`` gives, once a process: a search's language model."""
        if key not in self._parts:
            self._parts[key] = make()
        return self._parts[key]

    def tracker(self, node: dict[str, Any]) -> Tracker:
        """A new tracker, with the memory of those of its kind."""
        tracker = build(node, "tracker", Tracker)
        tracker.memory = self._memories.setdefault(node["_target_"], {})
        return tracker

    def base(self, spec: "ModelConfig", device: "torch.device") -> "Base":
        """The loaded base model. Where it replaces another one, generators let that one go first."""
        key = base_key(spec, device)
        if self._base is None or self._base[0] != key:
            self.forget_base()
            self._base = key, load(spec, device, resolve_dtype(spec.dtype, device))
        return self._base[1]

    def corpora(self, task: "Task", settings: Any, base: "Base", max_length: int) -> Corpora:
        """The tokenised texts of a task: of training, of validation, and of the test sets where their likelihood is the score.

        Args:
            task: whose texts they are.
            settings: what decides them, as JSON.
            base: whose tokenizer counts.
            max_length: tokens at which a text is cut.
        """
        key = digest(settings), fingerprint(base.spec), max_length
        if self._corpora is None or self._corpora[0] != key:
            self._corpora = None  # before the next ones are read
            splits = [task.train_examples(), task.validation_examples()]
            splits += [task.test_examples()] if task.tested == "likelihood" else []
            texts = [[task.parts(example) for example in split] for split in splits]
            self._corpora = key, Corpora(*(Corpus(of_split, base.tokenizer, max_length, base.vocabulary) for of_split in texts))
        return self._corpora[1]

    def forget_base(self) -> None:
        """Drop the loaded model and all that holds it: after a failure in the middle of a change it cannot be trusted.

        A generator that cannot let it go is dropped, too, and made anew for the next cell.
        """
        for name, part in list(self._parts.items()):
            if isinstance(part, Generator):
                try:
                    part.close()
                except Exception as error:
                    del self._parts[name]
                    note(f"evaluator {type(part).__name__} is made anew, since it could not be closed: {reason(error)}")
        self._base = None
        gc.collect()  # the first load in a process leaves a cycle of frames, which would keep its model beside the new one


def base_key(spec: "ModelConfig", device: "torch.device") -> str:
    """What tells one loaded model from another; device and kind decide its attention, too, see ``models.attention.choose``."""
    return f"{fingerprint(spec)} {spec.path} {device} {resolve_dtype(spec.dtype, device)} {spec.quantization}"


@cache
def current() -> Session:
    """The session of this process, for entry points that Hydra calls with a config alone; everything else is passed one."""
    return Session()
