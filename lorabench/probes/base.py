"""What a probe is: something that looks at a model between the steps of its training."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from lorabench.errors import UserError
from lorabench.schema import KNOB, TrainerConfig

if TYPE_CHECKING:
    from lorabench.training.data import Encoded
    from lorabench.variants.base import Variant


@dataclass(kw_only=True)
class Probe(ABC):
    """Measures before the first step, after every ``every`` steps and after the last one; the record keeps the rows.

    Attributes:
        version: of the probe's code, see ``Variant``.
        name: as on the command line.
        every: steps between two measurements; None for none at all.
        samples: the first so many of the cell's training samples are looked at.
    """

    version: ClassVar[int] = 1

    name: str
    every: int | None = field(default=None, metadata=KNOB)
    samples: int = 0

    def __post_init__(self) -> None:
        if self.every is not None and self.every < 1:
            raise UserError(f"probe.every={self.every} must be a whole number of at least 1, or null for never")

    @abstractmethod
    def check(self, variant: "Variant", names: Sequence[str], dtype: str) -> None:
        """Raise UserError where it cannot measure.

        Args:
            variant: of the cell.
            names: of the model's linear layers.
            dtype: of the model: float32, bfloat16, or auto where that is not known yet.
        """

    @abstractmethod
    def measure(
        self, model: Any, variant: "Variant", examples: "Sequence[Encoded]", pad: int, trainer: TrainerConfig, seed: int
    ) -> list[dict[str, Any]]:
        """Look at the present weights and leave the model as it was; one entry a block, as JSON.

        Raises:
            ArithmeticError: nothing finite comes out at these weights; the record says so, and the run goes on.
        """
