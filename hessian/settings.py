"""How eigenvalues are computed: the settings that ``python -m hessian`` and the probe share, checked once."""

from dataclasses import dataclass
from typing import Protocol

from hessian.products.passes import Budget, check_attention
from hessian.solve import Rule
from lorabench.errors import UserError
from lorabench.schema import TrainerConfig


class Settings(Protocol):
    """Where they stand.

    Attributes:
        tol: relative residual at which an eigenvalue is accepted.
        max_iter: most products of a block.
        memory_gb: GiB that graphs and Lanczos bases may each hold.
        attention: math or eager, which have a second derivative.
    """

    tol: float
    max_iter: int
    memory_gb: float
    attention: str


@dataclass(frozen=True)
class Solver:
    """Checked settings.

    Args:
        settings: see ``Settings``.
        key: what stands before them on the command line.

    Raises:
        UserError: one of them cannot be.
    """

    settings: Settings
    key: str

    def __post_init__(self) -> None:
        s = self.settings
        if s.max_iter < 1:
            raise UserError(f"{self.key}.max_iter={s.max_iter} must be a whole number of at least 1")
        for name in ("tol", "memory_gb"):
            if not getattr(s, name) > 0:
                raise UserError(f"{self.key}.{name}={getattr(s, name)} must be greater than 0")
        check_attention(s.attention, f"{self.key}.attention")

    def budget(self, trainer: TrainerConfig) -> Budget:
        """Memory, and how the data are cut."""
        held = int(self.settings.memory_gb * 2**30)
        return Budget(held, trainer.micro_batch_tokens, trainer.max_padding, self.key)

    def rule(self, k: int = 1) -> Rule:
        """When a Lanczos run for the k largest eigenvalues ends."""
        return Rule(k, self.settings.tol, self.settings.max_iter)
