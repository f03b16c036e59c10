"""Generated text: short stories about counts, and the symbolic sums they stand for.

The pretraining corpus and the ``arithmetic`` task are written from the same small grammar. The corpus has symbolic chains of
one to three steps and stories of one step; the task has stories of two steps, which the pretrained model has never seen.
"""

import random
from dataclasses import dataclass

NAMES = [
    "Ada",
    "Ben",
    "Cleo",
    "Dev",
    "Emma",
    "Finn",
    "Gia",
    "Hugo",
    "Ivy",
    "Jack",
    "Kira",
    "Leo",
    "Mona",
    "Noah",
    "Olga",
    "Paul",
]
ITEMS = ["apples", "books", "coins", "shells", "cards", "pens", "stamps", "marbles", "beads", "plums", "stones", "tickets"]
PLACES = ("a box", "a bag", "a jar", "the attic", "the yard", "the shop")
STARTS = (
    "{name} has {n} {items}.",
    "{name} starts the day with {n} {items}.",
    "There are {n} {items} in {place} that belongs to {name}.",
    "{name} counts {n} {items} in {place}.",
)
GAINS = (
    "{name} buys {n} more.",
    "{name} finds {n} {items} in {place}.",
    "A friend gives {name} {n} {items}.",
    "Then {n} more arrive.",
    "{name} wins {n} in a game.",
)
LOSSES = (
    "{name} gives away {n}.",
    "{name} loses {n} of them.",
    "Then {name} sells {n} {items}.",
    "{n} of the {items} get broken.",
    "{name} leaves {n} in {place}.",
)
QUESTIONS = (
    "How many {items} does {name} have now?",
    "How many {items} are left for {name}?",
    "What is the number of {items} at the end?",
)
LARGEST = 99  # largest operand; running totals stay within 0 .. 3 * LARGEST


@dataclass(frozen=True)
class Chain:
    """A start value and signed changes, e.g. ``Chain(23, (14, -9))`` for 23 + 14 - 9."""

    start: int
    changes: tuple[int, ...]

    @property
    def total(self) -> int:
        """The value after all changes."""
        return self.start + sum(self.changes)

    def expression(self) -> str:
        """The sum as written, ``23+14-9``."""
        return str(self.start) + "".join(f"{change:+d}" for change in self.changes)

    def worked_answer(self) -> str:
        """One equation a step and the result, ``23+14=37. 37-9=28. The answer is 28``."""
        value, steps = self.start, []
        for change in self.changes:
            steps.append(f"{value}{change:+d}={value + change}.")
            value += change
        return " ".join(steps) + f" The answer is {value}"

    @property
    def split(self) -> str:
        """``train`` (80 %), ``validation`` or ``test`` (10 % each), decided by the numbers alone."""
        mixed = self.start
        for change in self.changes:
            mixed = (mixed * 211 + change + LARGEST) % 65521  # a prime modulus: consecutive numbers spread out
        return {0: "test", 1: "validation"}.get(mixed % 10, "train")


def draw_chain(rng: random.Random, steps: int) -> Chain:
    """Draw a chain of ``steps`` changes whose running total never falls below zero."""
    start = rng.randint(2, LARGEST)
    value, changes = start, []
    for _ in range(steps):
        gain = rng.random() < 0.5 or value < 2
        change = rng.randint(2, LARGEST) if gain else -rng.randint(2, max(2, min(value, LARGEST)))
        changes.append(change)
        value += change
    return Chain(start, tuple(changes))


def tell(rng: random.Random, chain: Chain) -> str:
    """Write the chain as a story in words that ends in a question."""
    words = {"name": rng.choice(NAMES), "items": rng.choice(ITEMS)}

    def sentence(templates: tuple[str, ...], n: int) -> str:
        place = rng.choice(PLACES)
        return rng.choice(templates).format(n=n, place=place, **words)

    parts = [sentence(STARTS, chain.start)]
    parts += [sentence(GAINS if change > 0 else LOSSES, abs(change)) for change in chain.changes]
    return " ".join([*parts, rng.choice(QUESTIONS).format(**words)])


def prompt(question: str) -> str:
    """The prompt of every text here, in pretraining, fine-tuning and evaluation."""
    return f"Q: {question}\nA:"


def corpus_document(rng: random.Random) -> tuple[str, str]:
    """One pretraining document as (prompt, answer): 60 % symbolic chains of 1-3 steps, 40 % stories of one step."""
    if rng.random() < 0.6:
        chain = draw_chain(rng, rng.randint(1, 3))
        return prompt(chain.expression()), f" {chain.worked_answer()}"
    chain = draw_chain(rng, 1)
    return prompt(tell(rng, chain)), f" {chain.worked_answer()}"
