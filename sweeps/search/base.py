"""What every search method is: a function from the measured candidates to the next one."""

import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from sweeps.errors import SweepError
from sweeps.space import Space

if TYPE_CHECKING:
    import numpy as np


class Observation(NamedTuple):
    """A candidate and its score, larger is better; the score of a failed evaluation is None."""

    candidate: int
    score: float | None


class Search(ABC):
    """A method. It holds no state that the history does not decide, so that an interrupted search goes on to the same question.

    What a method keeps between questions (fits to start the next one from) may only save time.

    Args:
        space: the candidates.
        seed: of all that the method draws.

    Attributes:
        needs: modules of the extra `search` that it imports.
        shares: of a method that averages models, their weights at the last question.
    """

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
        """Return a candidate that is not in the history, which holds fewer than all of them."""

    def generator(self, history: Sequence[Observation]) -> "np.random.Generator":
        """A generator for this question alone."""
        import numpy as np

        return np.random.default_rng([self.seed, len(history)])


def untried(space: Space, history: Sequence[Observation]) -> "np.ndarray":
    """Mask [candidates] of those not in the history."""
    import numpy as np

    free = np.ones(len(space), dtype=bool)
    free[[one.candidate for one in history]] = False
    return free


def filled(history: Sequence[Observation]) -> list[float]:
    """The scores, with the worst measured one for what failed (0 if nothing was measured): a failure is to be avoided."""
    known = [one.score for one in history if one.score is not None]
    worst = min(known, default=0.0)
    return [worst if one.score is None else one.score for one in history]


def warped(scores: Sequence[float]) -> "np.ndarray":
    """Standardised scores [n]: zero mean, unit variance, after the lower half's distance from the median is cut.

    Collapsed runs lie far below all others and say no more than that they are bad; a Gaussian process would spend its length
    scales on them. So a score below median − 2·(best − median) counts as that (winsorised), if the two differ.
    """
    import numpy as np

    values = np.asarray(scores, dtype=float)
    middle = np.median(values)
    if values.max() > middle:
        values = np.maximum(values, middle - 2 * (values.max() - middle))
    spread = values.std()
    return (values - values.mean()) / (spread if spread > 0 else 1.0)
