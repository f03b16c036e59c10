"""Tree-structured Parzen estimator (Bergstra et al. 2011) of Optuna, by ask and tell."""

from collections.abc import Sequence
from typing import ClassVar

from sweeps.search.base import Observation, Search, filled_scores, untried
from sweeps.space import Space

DRAWS = 64
"""Suggestions after which a tried one is replaced by a random untried candidate: TPE repeats itself. Not tuned."""


class TPE(Search):
    """Optuna's ``TPESampler`` over the positions of each axis: ordered where they are numbers, categorical where not.

    The sampler knows no finite set without replacement, so a suggestion that was tried is drawn again. The first points stand
    in for the 10 random ones of Optuna's default; all else is as there.

    Args:
        space: the candidates.
        seed: of the sampler.
        initial: evaluations before the model is asked (``n_startup_trials``).
    """

    version: ClassVar[int] = 1

    needs = ("optuna",)

    def __init__(self, space: Space, seed: int, initial: int = 0) -> None:
        super().__init__(space, seed)
        self._initial = initial
        self._orders = [axis.order for axis in space.axes]

    def ask(self, history: Sequence[Observation]) -> int:
        """See ``Search.ask``."""
        import optuna  # of an extra: `check` says how to install it

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        ranges: dict[str, optuna.distributions.BaseDistribution] = {
            axis.key: optuna.distributions.IntDistribution(0, len(axis.texts) - 1)
            if axis.numbers
            else optuna.distributions.CategoricalDistribution(range(len(axis.texts)))
            for axis in self.space.axes
        }
        sampler = optuna.samplers.TPESampler(n_startup_trials=self._initial, seed=int(self.generator(history).integers(2**31)))
        study = optuna.create_study(direction="maximize", sampler=sampler)
        for (candidate, _), score in zip(history, filled_scores(history), strict=True):
            places = [order.index(i) for order, i in zip(self._orders, self.space.indices(candidate), strict=True)]
            params = dict(zip(self.space.keys, places, strict=True))
            study.add_trial(optuna.trial.create_trial(params=params, distributions=ranges, value=score))
        free = untried(self.space, history)
        for _ in range(DRAWS):
            params = study.ask(ranges).params
            places = [order[params[key]] for key, order in zip(self.space.keys, self._orders, strict=True)]
            if free[candidate := self.space.candidate(places)]:
                return candidate
        return int(self.generator(history).choice(free.nonzero()[0]))
