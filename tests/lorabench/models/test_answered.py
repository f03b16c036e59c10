"""Which messages a handler of transformers' still shows."""

import logging

from lorabench.models.answered import ANSWERED, Filter


def record(name, text):
    return logging.LogRecord(name, logging.WARNING, "file.py", 1, text, (), None)


def test_a_message_of_transformers_is_shown_once_and_an_answered_one_never():
    shows = Filter().filter
    assert [shows(record("transformers.models", "odd")) for _ in range(2)] == [True, False]
    assert not any(shows(record("transformers", f"  {text} …")) for text in ANSWERED)


def test_messages_of_others_at_the_same_handler_are_all_shown():
    """pytest's handler stands before transformers' loggers too, and so may one of a user's."""
    shows = Filter().filter
    assert all(shows(record("analysis.questions.overrides", text)) for text in ("left out", "left out", ANSWERED[0]))
