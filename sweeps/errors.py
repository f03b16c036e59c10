"""The exceptions of sweeps and searches."""

from traceback import FrameSummary


class SweepError(Exception):
    """What the user can mend, and how, in one line: of a space, a setting, a journal, a text or an encoder."""


class SweepFailed(Exception):
    """Some cells failed, or no cell can go on; the others are done."""


class MethodFault(Exception):
    """What a search method returned and must not, found after it did; its text is the line.

    Attributes:
        frame: where the method is defined.
    """

    def __init__(self, text: str, frame: FrameSummary):
        """As `Exception`, with the place."""
        super().__init__(text)
        self.frame = frame
