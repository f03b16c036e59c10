"""Two-step word problems with worked answers, generated: no download, exact scoring."""

import hashlib
import random
import re
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

from lorabench.errors import UserError
from lorabench.tasks.base import Example, Task
from lorabench.tiny.text import Chain, draw_chain, prompt, tell

POOL = {"train": 20_000, "validation": 1_000, "test": 1_000}
ANSWER = re.compile(r"The answer is (-?\d+)")


@cache
def stories(version: int) -> dict[str, list[Example]]:
    """All stories by split, drawn once for all tasks of a process."""
    rng = random.Random(f"arithmetic-{version}")
    pools: dict[str, list[Example]] = {name: [] for name in POOL}
    drawn: set[Chain] = set()
    while any(len(pools[name]) < size for name, size in POOL.items()):
        chain = draw_chain(rng, steps=2)
        pool = pools[chain.split]
        if chain in drawn or len(pool) >= POOL[chain.split]:
            continue
        drawn.add(chain)
        name = f"{chain.split}/{len(pool)}"
        pool.append(
            Example(name, tell(rng, chain), target=f" {chain.worked_answer()}", answer=str(chain.total), set="arithmetic")
        )
    return pools


@dataclass(kw_only=True)
class Arithmetic(Task):
    """Stories of two changes, such as "Ada has 23 books. Ada buys 14 more. Then Ada sells 9 books. How many … now?".

    The three numbers decide the split (``Chain.split``), so no sum of the training split occurs in validation or test.
    """

    version: ClassVar[int] = 1

    def source_examples(self) -> list[Example]:
        """Training stories; validation comes from its own pool, not out of them."""
        return stories(self.version)["train"]

    def train_examples(self) -> list[Example]:
        """All training stories."""
        return stories(self.version)["train"]

    def train_size(self) -> int:
        """Known without generating them."""
        return POOL["train"]

    def test_size(self) -> int:
        """Known without generating them."""
        return self.test_samples or POOL["test"]

    def validation_examples(self) -> list[Example]:
        """The first ``validation_samples`` validation stories.

        Raises:
            UserError: there are not so many.
        """
        if self.validation_samples > POOL["validation"]:
            raise UserError(
                f"task.validation_samples={self.validation_samples} is more than the {POOL['validation']} stories of task="
                f"{self.name}'s validation pool; give fewer"
            )
        return stories(self.version)["validation"][: self.validation_samples]

    def all_test_examples(self) -> list[Example]:
        """All test stories."""
        return stories(self.version)["test"]

    def prompt(self, example: Example) -> str:
        """``Q: story`` and ``A:`` on the next line, as in the model's pretraining text."""
        return prompt(example.question)

    def score(self, example: Example, completion: str) -> float:
        """1.0 when the number after the last ``The answer is`` equals the total."""
        answers = ANSWER.findall(completion)
        return float(bool(answers) and answers[-1] == example.answer)

    def fingerprint(self) -> str:
        """SHA-256 over all generated examples."""
        digest = hashlib.sha256()
        for examples in stories(self.version).values():
            for example in examples:
                digest.update(f"{example.id}\0{example.question}\0{example.target}\0".encode())
        return "sha256:" + digest.hexdigest()
