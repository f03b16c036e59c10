"""The canary: whether an engine serves the weights that were put into it."""

from dataclasses import dataclass

import torch

# Some words, so that a change of any layer shows in the probabilities of some of them.
TEXT = "One kilogram of apples costs 3 dollars. How much do 12 kilograms cost, and why? Let us think: 12 * 3 ="
BASE_TOLERANCE = 1e-3  # nats, between two readings of the same weights
VALUES = 1024  # about how many of a matrix are compared


class CanaryError(RuntimeError):
    """An engine serves other weights than it should."""


@dataclass(frozen=True)
class Reading:
    """What an engine made of ``TEXT`` and the weights that it should have done it with.

    Attributes:
        logs: log-probability of each token but the first.
        sample: values of the weights, see ``sample``.
    """

    logs: list[float]
    sample: torch.Tensor


@dataclass
class Canary:
    """Compares each reading with the base's and with the last one.

    Attributes:
        base: of the base's own weights.
        last: of those that the engine held before.
    """

    base: Reading
    last: Reading

    def check(self, reading: Reading, is_base: bool) -> None:
        """Take the reading after a change of weights as the last one.

        Raises:
            CanaryError: the base is not itself again; or other weights gave exactly the numbers of those before.
        """
        if is_base and max(abs(a - b) for a, b in zip(reading.logs, self.base.logs, strict=True)) > BASE_TOLERANCE:
            raise CanaryError("vLLM does not serve the base's weights after they were loaded again")
        for earlier, whose in ((self.base, "the base's weights"), (self.last, "the weights of the cell before")):
            if reading.logs == earlier.logs and bool((reading.sample != earlier.sample).any()):
                raise CanaryError(f"vLLM still serves {whose} after others were loaded")
        self.last = reading


def sample(weights: dict[str, torch.Tensor], dtype: torch.dtype) -> torch.Tensor:
    """Evenly spaced values of each weight, in main memory and in the precision in which the engine holds them.

    A sample costs little where a second copy of the weights would not fit. Where two sets differ in so few values that none of
    these is among them, the canary's text need not show the difference either, so no alarm is what is wanted.
    """
    parts = []
    for weight in weights.values():
        flat = weight.detach().reshape(-1)
        step = max(1, len(flat) // VALUES) | 1  # odd, to meet the columns of a matrix evenly
        parts.append(flat[::step].to(dtype).cpu())
    return torch.cat(parts)
