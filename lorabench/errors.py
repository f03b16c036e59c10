"""The one exception that means: the user can mend this."""

import difflib
import errno
from collections.abc import Iterable

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""No room: on the disk, within the user's share of it, or for so large a file."""


class UserError(Exception):
    """A user's mistake or a missing resource; its message is one line that says what was found and what to do."""


class PromptTooLong(UserError):
    """A prompt leaves no room for its answer; a caller that knows its name finds it by ``place``, its index."""

    def __init__(self, text: str, place: int):
        """As `UserError`, with the index."""
        super().__init__(text)
        self.place = place


class Busy(Exception):
    """Another process is training this cell; a sweep comes back to it (``retry_later``)."""

    retry_later = True


class Failed(Exception):
    """A cell failed; its text is the whole line."""

    explains_itself = True


def nearest(word: str, names: Iterable[str]) -> str:
    """Return ``did you mean 'x'?`` for the closest known name, with the full list when nothing is close."""
    candidates = sorted(set(names))
    close = difflib.get_close_matches(word, candidates, n=1, cutoff=0.6)
    if close:
        return f"did you mean '{close[0]}'?"
    return f"available: {', '.join(candidates)}"
