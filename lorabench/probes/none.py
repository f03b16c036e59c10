"""No probe: training is not looked at."""

from typing import Any, ClassVar

from lorabench.probes.base import Probe


class NoProbe(Probe):
    """Measures nothing."""

    version: ClassVar[int] = 1

    def check(self, variant: Any, names: Any, dtype: str) -> None:
        """Nothing."""

    def measure(self, model: Any, variant: Any, examples: Any, pad: int, trainer: Any, seed: int) -> list[dict[str, Any]]:
        """Nothing."""
        return []
