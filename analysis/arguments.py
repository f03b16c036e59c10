"""What command lines share: a mistake is one line, and numbers are checked as they are read."""

import argparse
import math
from contextlib import suppress
from typing import NoReturn


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, as everywhere; the usage is what --help is for."""

    def error(self, message: str) -> NoReturn:
        """Exit with code 2."""
        self.exit(2, f"lorabench: {message} (see {self.prog} --help)\n")


def points(text: str) -> float:
    """Points of a percentage as a fraction: a finite number above 0, over 100."""
    with suppress(ValueError):
        if 0 < (value := float(text)) < math.inf:
            return value / 100
    raise argparse.ArgumentTypeError(f"{text!r} is not a positive, finite number")


def percent(text: str) -> float:
    """A percentage as a fraction."""
    try:
        return float(text) / 100
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
