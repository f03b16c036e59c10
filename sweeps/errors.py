"""The one exception of sweeps and searches that means: the user can mend this."""


class SweepError(Exception):
    """What was found and what to do, in one line: of a space, a setting, a journal, a text or an encoder."""
