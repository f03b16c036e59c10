"""What a scorer of `task.scorer=NAME` is."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from lorabench.tasks.base import Score
from lorabench.tasks.example import Example


class Scorer(ABC):
    """Scores completions against what a row's response says.

    An example's ``answer`` is the response as the data have it (after ``task.labels``), its ``question`` the prompt.

    Attributes:
        version: raised whenever the same completion would get another score.
        generates: whether it needs completions; else the probability of the responses is the score.
        proves: whether a row's own response can be scored at once, to see that it is right.
        together: whether one alone costs nearly as much as many, since a process is started for them.
        argument: what it takes behind its name, ``NAME=ARGUMENT``; None where it takes nothing.
        settings: names of the task's fields that its constructor takes by name.
        columns: those of ``task.columns`` without which it cannot work.
    """

    version: ClassVar[int] = 1
    generates: ClassVar[bool] = True
    proves: ClassVar[bool] = True
    together: ClassVar[bool] = False
    argument: ClassVar[str | None] = None
    settings: ClassVar[tuple[str, ...]] = ()
    columns: ClassVar[tuple[str, ...]] = ()

    @property
    def name(self) -> str:
        """As on the command line."""
        return type(self).__module__.rpartition(".")[2]

    def check(self, answers: Sequence[str]) -> None:  # noqa: B027 (most have nothing to look at)
        """Look at all responses of the data before any completion is scored.

        Raises:
            UserError: it cannot score against such responses, or what it needs is not installed.
        """

    @abstractmethod
    def score(self, example: Example, completion: str) -> float:
        """In 0 … 1."""

    def score_all(self, examples: Sequence[Example], completions: Sequence[str]) -> list[Score]:
        """Of many completions; a scorer has it where doing many at once gains, or where it says more than one number."""
        return [{"score": self.score(e, c)} for e, c in zip(examples, completions, strict=True)]

    def proofs(self, examples: Sequence[Example], responses: Sequence[str]) -> list[bool]:
        """Whether each row's own response is right (to 1e-6)."""
        return [score["score"] > 1 - 1e-6 for score in self.score_all(examples, responses)]
