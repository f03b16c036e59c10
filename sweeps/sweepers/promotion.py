"""The best configurations of a cheap sweep, run again in full."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from omegaconf import DictConfig


@dataclass(frozen=True)
class Promoted:
    """A full cell.

    Attributes:
        overrides: of its config.
        proxy: mean score of its configuration's proxies.
        score: in full; None where it has none.
    """

    overrides: list[str]
    proxy: float
    score: float | None = None


@dataclass(frozen=True)
class Promotion:
    """What happens after a sweep of proxies.

    Attributes:
        count: configurations to promote; 0: none.
        full: overrides that make a proxy a full cell, in the place of what the proxy says of their keys.
        average: keys that make no other configuration, such as ``seed``: the proxies' scores are averaged over them, so that no
            lucky one is promoted, and a configuration is run with all its values of them. A proxy without a score counts as
            the worst that was measured; a configuration without any is not promoted.
        report: gets the full cells' configs and the proxies' scores, best proxy first, and tells the results.
    """

    count: int = 0
    full: Sequence[str] = ()
    average: Sequence[str] = ()
    report: Callable[[Sequence[DictConfig], Sequence[float]], None] | None = None

    def choose(self, cells: Sequence[Sequence[str]], scores: Sequence[Any]) -> list[Promoted]:
        """The full cells of the best configurations, best proxy first; of equal scores the earlier configuration comes first.

        Proxies of several sizes or subsets have a full configuration in common, which is promoted once, by its best proxy.
        """
        known = [_number(score) for score in scores]
        worst = min((score for score in known if score is not None), default=0.0)
        groups: dict[tuple[str, ...], list[tuple[Sequence[str], float]]] = {}
        measured = {tuple(_without(cell, self.average)) for cell, score in zip(cells, known, strict=True) if score is not None}
        for cell, score in zip(cells, known, strict=True):
            if (configuration := tuple(_without(cell, self.average))) in measured:
                groups.setdefault(configuration, []).append((cell, worst if score is None else score))
        chosen: dict[tuple[str, ...], list[Promoted]] = {}
        for configuration, members in sorted(groups.items(), key=lambda group: -fmean(score for _, score in group[1])):
            if len(chosen) == self.count:
                break
            proxy = fmean(score for _, score in members)
            found = [Promoted(self._in_full(cell), proxy) for cell, _ in members]
            chosen.setdefault(tuple(self._in_full(configuration)), found)
        return [one for members in chosen.values() for one in members]

    def _in_full(self, cell: Sequence[str]) -> list[str]:
        return [*_without(cell, [_key(override) for override in self.full]), *self.full]


def _number(score: Any) -> float | None:
    return float(score) if isinstance(score, int | float) and score == score else None


def _key(override: str) -> str:
    return override.partition("=")[0].lstrip("+~")


def _without(cell: Sequence[str], keys: Iterable[str]) -> list[str]:
    """The overrides of other keys than these and what lies below them."""
    names = tuple(keys)
    return [one for one in cell if not any(_key(one) == name or _key(one).startswith(f"{name}.") for name in names)]
