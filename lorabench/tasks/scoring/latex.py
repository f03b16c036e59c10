"""Final answers of MATH: where they stand in a text, and whether two of them are the same (Hendrycks et al. 2021)."""

import re
from collections.abc import Callable

from lorabench.errors import UserError

MARKER = "The answer is: "
BOX = re.compile(r"\\(?:boxed|fbox)\s*")


def boxed_answer(solution: str) -> str | None:
    r"""Return the content of the last ``\boxed{…}``, ``\fbox{…}`` or ``\boxed 5`` (which ends at a ``$``); None without one.

    >>> boxed_answer(r"so $x = \boxed{\frac{1}{2}}.$")
    '\\frac{1}{2}'
    """
    boxes = list(BOX.finditer(solution))
    if not boxes:
        return None
    rest, depth = solution[boxes[-1].end() :], 0
    if not rest.startswith("{"):
        return rest.partition("$")[0].strip() or None
    for i, character in enumerate(rest):
        depth += (character == "{") - (character == "}")
        if depth == 0:
            return rest[1:i]
    return None


def final_answer(text: str) -> str | None:
    """Return what follows the last ``The answer is: ``, up to ``.`` at a line's end, one final dot dropped; else None.

    The rule of paper 1 (arXiv 2602.04998); the text after an answer without such a dot counts as part of the answer.
    """
    _, marker, tail = text.rpartition(MARKER)
    return tail.partition(".\n")[0].strip().removesuffix(".").strip() if marker else None


def equivalence() -> Callable[[str, str], bool]:
    """Return Hendrycks' ``is_equiv`` as lm-eval ships it, which compares two answers after normalising their LaTeX.

    Raises:
        UserError: lm-eval is not installed.
    """
    try:
        from lm_eval.tasks.hendrycks_math.utils import is_equiv
    except ImportError as error:
        raise UserError(
            f"task=math needs lm-eval to score MATH ({error}): `make install-eval`, or leave MATH out with task.sets=[gsm8k]"
        ) from error
    return is_equiv
