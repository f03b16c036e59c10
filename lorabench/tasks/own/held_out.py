"""Problems that are held out of the training data to test on."""

from lorabench.errors import UserError
from lorabench.tasks.example import clusters, content_hash
from lorabench.tasks.own.reading import Conversation

MINIMUM = 10
"""Problems that can be divided into training, validation and test."""


def held_out(task: str, examples: list[Conversation], share: float) -> tuple[list[Conversation], list[Conversation]]:
    """What is trained and validated on, and what is tested on: of each problem that is held out one row.

    Args:
        task: name, for errors.
        examples: of the training data.
        share: of the problems, in (0, 1).

    Raises:
        UserError: there are too few.
    """
    problems = clusters(examples)
    if len(problems) < MINIMUM:
        raise UserError(f"task={task} has {len(problems)} problems; {MINIMUM} are the least that can be divided")
    chosen = problems[len(problems) - max(1, round(share * len(problems))) :]
    tested = [min((examples[i] for i in members), key=content_hash) for members in chosen]
    away = {i for members in chosen for i in members}
    return [example for i, example in enumerate(examples) if i not in away], tested
