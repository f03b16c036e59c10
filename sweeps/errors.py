"""The exceptions of sweeps and searches."""


class SweepError(Exception):
    """What the user can mend, and how, in one line: of a space, a setting, a journal, a text or an encoder."""


class SweepFailed(Exception):
    """Some cells failed, or no cell can go on; the others are done."""
