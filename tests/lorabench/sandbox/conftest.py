"""Whatever a solution does, no process of it is left."""

import contextlib
import os

import pytest

from lorabench.sandbox import kernel


@pytest.fixture(autouse=True)
def no_process_is_left():
    """Those of earlier tests of this process, such as a launcher's workers, are not the sandbox's."""
    before = set(kernel.descendants(os.getpid()))
    kernel.adopt_orphans()  # or one whose parent has ended would be out of sight
    try:
        yield
        left = set(kernel.descendants(os.getpid())) - before
        for pid in list(left):
            with contextlib.suppress(ChildProcessError):  # an orphan that was killed, and waits for its new parent
                left -= {os.waitpid(pid, os.WNOHANG)[0]}
        assert not left
    finally:
        kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 0)
