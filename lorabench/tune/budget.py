"""How many cells each stage of ``lorabench tune`` gets."""

from dataclasses import dataclass

from lorabench.errors import UserError

FIRST = 5
"""Cells that a search takes before its model has a say (conf/hydra/sweeper/search.yaml)."""

BRACKET = 4
"""Cells kept for learning rates beside the best one of each finalist, where the search left them out; else it gets them, too.

A method of which two learning rates were tried is not tuned, and no comparison with it is fair."""


@dataclass(frozen=True)
class Shares:
    """Cells of a budget.

    Attributes:
        search: with seed 0 each.
        bracket: of these, those that are kept for the finalists' neighbouring learning rates.
        seeds: of each finalist and of the default LoRA; none of them is the search's, by whose luck they were chosen.
        finals: cells that this takes: the seeds of two finalists and of the default.
    """

    search: int
    bracket: int
    seeds: int
    finals: int


def shares(budget: int, seeds: int | None = None) -> Shares:
    """Divide a budget.

    Two seeds tell little of the chance of training and one nothing, so three are wanted where the budget has room.

    >>> shares(20)
    Shares(search=11, bracket=4, seeds=3, finals=9)

    Raises:
        UserError: too small for both.
    """
    wanted = seeds or (3 if budget >= 18 else 2)
    finals = 3 * wanted
    search = budget - finals
    if search < FIRST:
        raise UserError(
            f"--budget={budget} is too small: the search's {FIRST} first cells and {finals} for the comparison with "
            f"{wanted} seeds need {FIRST + finals}"
        )
    return Shares(search, min(BRACKET, search - FIRST), wanted, finals)


def cells(hours: float, seconds: float, seeds: int | None = None) -> int:
    """The cells that so many hours have room for, where one took so many seconds.

    Raises:
        UserError: not enough for an answer.
    """
    count = int(hours * 3600 / seconds)
    least = FIRST + 3 * (seeds or 2)
    if count < least:
        raise UserError(
            f"--hours={hours:g} is too short: a cell took {seconds:.3g} s, and {least} are needed, "
            f"--hours={least * seconds / 3600:.2g}; or train on less (train_samples=N)"
        )
    return count
