"""Problems that are held out of the training data to test on, and training data beside a test file."""

from lorabench.errors import UserError
from lorabench.tasks.example import clusters, content_hash
from lorabench.tasks.own.reading import Conversation
from lorabench.terminal.bars import note

MINIMUM = 10
"""Problems that can be divided into training, validation and test."""

FEW = 10
"""Test prompts below which it may be chance that the training data hold all of them, which is counted in a line as ever."""


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
        raise UserError(
            f"task={task} has {len(problems)} problem{'s' * (len(problems) != 1)} in {len(examples)} rows (those that ask the "
            f"same, or share task.columns.group, are one); {MINIMUM} are the least that can be divided: give more, or "
            "task.test=FILE"
        )
    chosen = problems[len(problems) - max(1, round(share * len(problems))) :]
    tested = [min((examples[i] for i in members), key=content_hash) for members in chosen]
    away = {i for members in chosen for i in members}
    return [example for i, example in enumerate(examples) if i not in away], tested


def apart(task: str, train: list[Conversation], test: list[Conversation]) -> list[Conversation]:
    """The training rows that belong to no problem of a test set of its own, and a line on the others.

    Left out are rows of a test row's group and of a conversation that begins as a test row does. A row that asks the very same
    stays: ``Task.contamination`` counts it.

    Args:
        task: name, for what is said.
        train: the training data.
        test: the test data.

    Raises:
        UserError: every test prompt is in the training data, or every training row belongs to a test problem.
    """
    trained = {example.wording: example for example in train}
    if len(test) >= FEW and all(example.wording in trained for example in test):
        raise UserError(
            f"task={task}: every prompt of task.test is in task.train, such as {test[0].id} "
            f"({trained[test[0].wording].id}): the model would be tested on what it was trained on; give other data, or a "
            "share to hold out, task.test=0.1"
        )
    named = {example.group for example in test} - {""}
    groups, wordings = {name for name in named if not name.isdecimal()}, {example.wording for example in test}
    if numbered := sum(example.group in named - groups for example in train):
        note(
            f"task={task}: {numbered} of {len(train)} training rows have a number in task.columns.group that test rows have, "
            "too; numbers may begin anew in each file, so these rows stay"
        )
    openings = {example.opening for example in test} - {""}
    away = [
        example
        for example in train
        if example.group in groups or (example.opening in openings and example.wording not in wordings)
    ]
    if not away:
        return train
    what = (
        f"task={task}: {len(away)} of {len(train)} training rows belong to test problems by task.columns.group, or begin as "
        f"test conversations do, such as {away[0].id} ({away[0].place})"
    )
    if len(away) == len(train):
        raise UserError(f"{what}; nothing is left to train on, give other data")
    note(f"{what}; they are left out")
    left_out = {example.id for example in away}
    return [example for example in train if example.id not in left_out]
