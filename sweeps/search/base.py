"""What every search method is: a function from the measured candidates to the next one."""

import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np

from sweeps.errors import SweepError
from sweeps.space import Space


class Observation(NamedTuple):
    """A candidate that was evaluated.

    Attributes:
        candidate: its number in the space, 0 … ``len(space)`` − 1.
        score: larger is better; None where the evaluation failed.
    """

    candidate: int
    score: float | None


class Search(ABC):
    """A method: ``ask`` gives the next candidate, decided by space, seed and history alone.

    It holds no state that the history does not decide, so that an interrupted search goes on to the same question; what it
    keeps between questions (fits to start the next one from) may only save time. First points, budget, batches, journal and
    failures are the sweeper's, and so the same for all methods. A question leaves the random numbers of others alone: draw from
    ``generator``.

    A method is one file with a subclass, and one yaml that starts with ``defaults: [search]`` and names the class as
    ``method._target_`` with ``_partial_: true``. Further parameters of ``__init__`` are its settings, keys of ``method``;
    those of a plain type (bool, int, float, str) are checked by their annotations.

    >>> class Upwards(Search):
    ...     def ask(self, history):
    ...         return int(untried(self.space, history).argmax())
    >>> Upwards(Space({"lr": ["1e-4", "1e-3", "1e-2"]}), seed=0).ask([Observation(0, 0.7), Observation(2, None)])
    1

    Args:
        space: the candidates.
        seed: of all that the method draws.

    Attributes:
        version: of the code that decides the questions, stated by each class of this package in its own body and raised
            whenever the same history would give another question, also by a change in ``sweeps.processes`` or
            ``sweeps.language``. A journal goes on with the versions it was begun with. A class that states none, or is not of
            this package, is told by its source file.
        needs: modules of the extra `search` that it imports.
        shares: of a method that averages models, their weights at the last question.
    """

    version: ClassVar[int] = 1

    needs: tuple[str, ...] = ()

    def __init__(self, space: Space, seed: int) -> None:
        self.space, self.seed = space, seed
        self.shares: dict[str, float] = {}

    def check(self) -> None:
        """Find before the first evaluation what would stop a question later.

        Raises:
            SweepError: what the method needs is not at hand.
        """
        if missing := [name for name in self.needs if importlib.util.find_spec(name) is None]:
            name = type(self).__module__.rpartition(".")[2]
            raise SweepError(f"the method {name} needs {', '.join(missing)}: pip install 'lorabench[search]'")

    def fingerprint(self) -> dict[str, Any]:
        """What decides the questions besides space, seed and settings, such as a file's content; of types that JSON knows."""
        return {}

    @abstractmethod
    def ask(self, history: Sequence[Observation]) -> int:
        """The next candidate to evaluate.

        Args:
            history: all that was evaluated, in its order; candidates of a batch that are not answered yet come last, with the
                median score.

        Returns:
            A candidate that is not in the history, which holds fewer than all of them; a plain int.

        Raises:
            SweepError: the method cannot go on.
        """

    def generator(self, history: Sequence[Observation]) -> np.random.Generator:
        """A generator for this question alone, seeded by the method's seed and the number of observations."""
        return np.random.default_rng([self.seed, len(history)])


def untried(space: Space, history: Sequence[Observation]) -> np.ndarray:
    """Mask [candidates] of those not in the history.

    >>> untried(Space({"rank": ["4", "8", "16"]}), [Observation(1, 0.5)]).tolist()
    [True, False, True]
    """
    free = np.ones(len(space), dtype=bool)
    free[[observation.candidate for observation in history]] = False
    return free


def filled_scores(history: Sequence[Observation]) -> list[float]:
    """The scores, with the worst measured one for what failed (0 if nothing was measured): a failure is to be avoided.

    >>> filled_scores([Observation(0, 0.5), Observation(1, None), Observation(2, 0.2)])
    [0.5, 0.2, 0.2]
    """
    worst = min((observation.score for observation in history if observation.score is not None), default=0.0)
    return [worst if observation.score is None else observation.score for observation in history]


def warp(scores: Sequence[float]) -> np.ndarray:
    """Standardised scores [n]: zero mean, unit variance, after the lower half's distance from the median is cut.

    y ← max(y, m − 2 (max y − m)) with m = median y, if max y > m; then (y − mean) / deviation. Collapsed runs lie far below all
    others and say no more than that they are bad; a Gaussian process would spend its length scales on them (winsorising).

    >>> warp([0.0, 0.7, 0.8]).round(2).tolist()  # 0 counts as 0.5
    [-1.34, 0.27, 1.07]
    """
    values = np.asarray(scores, dtype=float)
    middle = np.median(values)
    if values.max() > middle:
        values = np.maximum(values, middle - 2 * (values.max() - middle))
    spread = values.std()
    return (values - values.mean()) / (spread if spread > 0 else 1.0)
