"""The error that a user can put right."""


class AnalysisError(Exception):
    """A user's mistake; its message is one line that says what was found and what to do."""
