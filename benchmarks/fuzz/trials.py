"""Many command lines drawn and answered: how many ended how, and each failure once, with the shortest that has it."""

import re
import shlex
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from benchmarks.fuzz.answers import GOOD, Answer, Writes, answer

FOLDERS = re.compile(r"\+*(output_dir|hydra\.(run|sweep|runtime|job|sweeper|output_subdir).*)=")
"""Words that say where files go."""


@dataclass
class Report:
    """What came of many.

    Attributes:
        outcomes: how often each.
        failures: by what is wrong, the shortest command that shows it and its answer.
    """

    outcomes: Counter[str] = field(default_factory=Counter)
    failures: dict[str, tuple[tuple[str, ...], Answer]] = field(default_factory=dict)

    def add(self, words: tuple[str, ...], answer: Answer, again: Callable[[tuple[str, ...]], Answer]) -> None:
        """Count it; of a failure leave out all words that it does without.

        Args:
            words: of the command.
            answer: to it.
            again: answers to fewer words.
        """
        self.outcomes[answer.outcome] += 1
        if answer.outcome in GOOD:
            return
        kind = kind_of(answer)
        if kind in self.failures and len(" ".join(self.failures[kind][0])) <= len(" ".join(words)):
            return
        for word in words:
            fewer = tuple(other for other in words if other != word)
            if kind_of(again(fewer)) == kind:
                words = fewer
        if kind not in self.failures:
            print(f"{answer.outcome}: {shlex.join(words)}\n  {answer.detail}", file=sys.stderr, flush=True)
        self.failures[kind] = words, answer


def kind_of(answer: Answer) -> str:
    """What failures of one cause have in common: where it was, or the words of the answer without the user's."""
    place = answer.detail.rpartition(": ")[0] if answer.outcome == "traceback" else answer.detail
    return f"{answer.outcome} " + re.sub(r"[\d.]+|'[^']*'|\"[^\"]*\"|=\S+", "_", place)[:60]


def fuzz(
    words: st.SearchStrategy[tuple[str, ...]],
    run: Callable[[tuple[str, ...]], Answer],
    count: int,
    number: int,
    on_each: Callable[[tuple[str, ...], Answer, int], None] = lambda words, answer, count: None,
) -> Report:
    """Draw words and run each.

    Args:
        words: where they are drawn from.
        run: answers them.
        count: how many.
        number: the seed.
        on_each: called with each, its answer, and how many there were.
    """
    report = Report()

    @seed(number)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(words)
    def one(drawn: tuple[str, ...]) -> None:
        answer = run(drawn)
        report.add(drawn, answer, run)
        on_each(drawn, answer, report.outcomes.total())

    one()
    return report


def on_command_line(words: tuple[str, ...], seconds: float, writes: Writes) -> Answer:
    """What ``python -m lorabench WORDS`` answers, in an empty folder.

    Args:
        words: of the command line.
        seconds: that it may take.
        writes: watches over files.
    """
    folder = Path(tempfile.mkdtemp())
    says_where = any(map(FOLDERS.match, words))  # then a place that it is kept from is one that cannot be written
    try:
        ended = answer("lorabench", words, folder, seconds, writes, [folder if says_where else folder / "runs"])
        return Answer("refused", ended.detail) if says_where and ended.outcome == "wrote" else ended
    finally:
        shutil.rmtree(folder)
