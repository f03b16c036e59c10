"""Texts that begin alike as a tree of tokens, laid out as sequences that a model reads at once."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch

PACK = 768
"""Tokens of one pass beyond the head: as many nodes of the tree as fit go together, each seeing its ancestors alone: long
enough for the matrix products, short enough that the square of who sees whom stays small. Not tuned."""


@dataclass
class Pack:
    """Some texts' part of the tree as one sequence of t tokens, each node of the tree once.

    Attributes:
        ids: tokens [t].
        positions: their positions behind the head [t].
        sees: [t, t], whether a token (row) attends to another (column): to its ancestors and itself.
        leaves: place of each text's last token [texts].
    """

    ids: torch.Tensor
    positions: torch.Tensor
    sees: torch.Tensor
    leaves: torch.Tensor


def packs(texts: Iterable[tuple[int, Sequence[str]]], tokens: Callable[[str], list[int]]) -> Iterator[tuple[list[int], Pack]]:
    """Packs of neighbours of at most `PACK` tokens, unless a single text has more, with the texts' numbers.

    >>> [[_, pack]] = packs([(7, ["a", "b"]), (9, ["a", "c"])], lambda line: [ord(line)])
    >>> pack.ids.tolist(), pack.positions.tolist(), pack.leaves.tolist()
    ([97, 98, 99], [0, 1, 1], [1, 2])
    >>> pack.sees.int().tolist()  # c does not see b
    [[1, 0, 0], [1, 1, 0], [1, 0, 1]]

    Args:
        texts: number and lines of each; such as begin alike should be neighbours.
        tokens: of a line.
    """
    builder, numbers = _Builder(tokens), list[int]()
    for number, lines in texts:
        if numbers and builder.cost(lines) > PACK:
            yield numbers, builder.pack()
            builder, numbers = _Builder(tokens), []
        builder.add(lines)
        numbers.append(number)
    if numbers:
        yield numbers, builder.pack()


class _Builder:
    """Puts texts together into a pack, sharing with the text before what they begin with."""

    def __init__(self, tokens: Callable[[str], list[int]]) -> None:
        self._tokens = tokens
        self._ids: list[int] = []
        self._path: list[tuple[str, list[int]]] = []  # the last text's lines, and their tokens' places
        self._seen: list[list[int]] = []  # for each token, the places that it attends to
        self._leaves: list[int] = []

    def cost(self, lines: Sequence[str]) -> int:
        """Length of the pack with one more text, and a token behind each."""
        return len(self._ids) + len(self._leaves) + 1 + sum(len(self._tokens(line)) for line in lines[self._shared(lines) :])

    def _shared(self, lines: Sequence[str]) -> int:
        count = 0
        while count < len(self._path) and self._path[count][0] == lines[count]:
            count += 1
        return count

    def add(self, lines: Sequence[str]) -> None:
        """Append a text."""
        self._path = self._path[: self._shared(lines)]
        for line in lines[len(self._path) :]:
            before = [place for _, places in self._path for place in places]
            places = list(range(len(self._ids), len(self._ids) + len(self._tokens(line))))
            for i, place in enumerate(places):
                self._seen.append([*before, *places[: i + 1]])
                self._ids.append(self._tokens(line)[place - places[0]])
            self._path.append((line, places))
        self._leaves.append(self._path[-1][1][-1])

    def pack(self) -> Pack:
        """What was put together."""
        sees = torch.zeros(len(self._ids), len(self._ids), dtype=torch.bool)
        for row, places in enumerate(self._seen):
            sees[row, places] = True
        positions = torch.tensor([len(places) - 1 for places in self._seen])
        return Pack(torch.tensor(self._ids), positions, sees, torch.tensor(self._leaves))
