"""The best configurations of a cheap sweep, run again in full."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from omegaconf import DictConfig

from sweeps.numbers import is_finite


@dataclass(frozen=True)
class Promoted:
    """A full cell, to be launched or with its score.

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

    def choose(self, cells: Sequence[Sequence[str]], scores: Sequence[float | None]) -> list[Promoted]:
        """The full cells of the best configurations, best proxy first; of equal scores the earlier configuration comes first.

        >>> cells = [["lr=1", "seed=0"], ["lr=1", "seed=1"], ["lr=2", "seed=0"], ["lr=2", "seed=1"]]
        >>> promotion = Promotion(count=1, full=["train_fraction=1"], average=["seed"])
        >>> [promoted.overrides for promoted in promotion.choose(cells, [0.9, 0.1, 0.6, 0.7])]
        [['lr=2', 'seed=0', 'train_fraction=1'], ['lr=2', 'seed=1', 'train_fraction=1']]

        Proxies of several sizes or subsets have a full configuration in common, which is promoted once, by its best proxy.
        """
        finite = [score if is_finite(score) else None for score in scores]
        worst = min((score for score in finite if score is not None), default=0.0)
        groups: dict[tuple[str, ...], list[tuple[Sequence[str], float]]] = {}
        configurations = [tuple(_without(cell, self.average)) for cell in cells]
        measured = {configuration for configuration, score in zip(configurations, finite, strict=True) if score is not None}
        for cell, configuration, score in zip(cells, configurations, finite, strict=True):
            if configuration in measured:
                groups.setdefault(configuration, []).append((cell, worst if score is None else score))
        chosen: dict[tuple[str, ...], list[Promoted]] = {}
        for configuration, members in sorted(groups.items(), key=lambda group: -fmean(score for _, score in group[1])):
            if len(chosen) == self.count:
                break
            proxy = fmean(score for _, score in members)
            promoted = [Promoted(self._in_full(cell), proxy) for cell, _ in members]
            chosen.setdefault(tuple(self._in_full(configuration)), promoted)
        return [full for promoted in chosen.values() for full in promoted]

    def _in_full(self, cell: Sequence[str]) -> list[str]:
        return [*_without(cell, [_key(override) for override in self.full]), *self.full]


def _key(override: str) -> str:
    return override.partition("=")[0].lstrip("+~")


def _without(cell: Sequence[str], keys: Iterable[str]) -> list[str]:
    """The overrides of other keys than these and what lies below them."""
    names = tuple(keys)

    def is_below(key: str) -> bool:
        return any(key == name or key.startswith(f"{name}.") for name in names)

    return [override for override in cell if not is_below(_key(override))]
