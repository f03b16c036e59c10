"""AdaLoRA's ranks: which triplets are kept as the budget falls over a run (Zhang et al. 2023, arXiv 2303.10512, section 3).

Triplet i of a matrix is column i of P [m, r], the singular value λ_i, and row i of Q [r, n]. After step t = 1 … T, for each
entry w of the three with the gradient g of the step:

    I = |w g|                                                      sensitivity
    Ī ← β₁ Ī + (1 − β₁) I                                          smoothed
    Ū ← β₂ Ū + (1 − β₂) |I − Ī|                                    its uncertainty
    s(w) = Ī Ū
    S_i = s(λ_i) + mean_j s(P_ji) + mean_j s(Q_ij)                 importance of a triplet
    b(t) = b_T + ⌊(b_0 − b_T) (1 − (t − t_i) / (T − t_i − t_f))³⌋    for t_i < t ≤ T − t_f

At every ΔT-th step of that phase, and at its last, λ is set to 0 but for the b(t) triplets of largest S over all matrices; the
others come back where a later gradient moves them. From T − t_f on the same ones stay 0. w is taken after the optimizer's step,
as by the authors' code and PEFT, and g as it was clipped; the paper writes both of one point.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

Triplets = Mapping[str, tuple[torch.Tensor, torch.Tensor, torch.Tensor]]
"""Q [r, n], λ [r, 1] and P [m, r] of each matrix: PEFT's lora_A, lora_E and lora_B."""


@dataclass(frozen=True)
class Budget:
    """The total rank over a run.

    Attributes:
        initial: b_0, of all matrices together.
        target: b_T.
        warmup: t_i, steps with all of b_0.
        final: t_f, steps with the ranks found.
        interval: ΔT, steps from one choice to the next.
        total: T.
    """

    initial: int
    target: int
    warmup: int
    final: int
    interval: int
    total: int

    @property
    def settled(self) -> int:
        """T − t_f: the step after which the ranks stay."""
        return self.total - self.final

    def at(self, step: int) -> int:
        """b(t) for a step of the phase in which it falls."""
        left = 1 - (step - self.warmup) / (self.settled - self.warmup)
        return int((self.initial - self.target) * left**3 + self.target)

    def chooses(self, step: int) -> bool:
        """Whether triplets are chosen after this step."""
        return step == self.settled or (self.warmup < step < self.settled and step % self.interval == 0)


@dataclass
class Allocation:
    """What is known of the triplets' importance, and which are kept.

    Attributes:
        betas: β₁, β₂.
        smoothed: Ī of each factor by its matrix's name and its place in the triple.
        uncertainty: Ū.
        kept: [r] of each matrix, true where λ stays; empty before the first choice.
    """

    betas: tuple[float, float]
    smoothed: dict[str, list[torch.Tensor]] = field(default_factory=dict)
    uncertainty: dict[str, list[torch.Tensor]] = field(default_factory=dict)
    kept: dict[str, torch.Tensor] = field(default_factory=dict)

    @torch.no_grad()
    def follow(self, triplets: Triplets, budget: Budget, step: int) -> None:
        """Take up the gradients of step 1 … T, just taken, and set to 0 what the budget does not hold."""
        if step < budget.settled:
            self.observe(triplets)
        if budget.chooses(step):
            self.kept = most_important({name: self.importance(name) for name in triplets}, budget.at(step))
        if budget.chooses(step) or step > budget.settled:
            for name, (_, values, _) in triplets.items():
                values.masked_fill_(~self.kept[name][:, None], 0.0)
        if step == budget.settled:
            self.smoothed, self.uncertainty = {}, {}

    def observe(self, triplets: Triplets) -> None:
        """Advance Ī and Ū."""
        beta1, beta2 = self.betas
        for name, factors in triplets.items():
            if name not in self.smoothed:
                self.smoothed[name] = [torch.zeros_like(factor) for factor in factors]
                self.uncertainty[name] = [torch.zeros_like(factor) for factor in factors]
            for factor, smoothed, uncertainty in zip(factors, self.smoothed[name], self.uncertainty[name], strict=True):
                sensitivity = torch.zeros_like(factor) if factor.grad is None else (factor * factor.grad).abs()
                smoothed.mul_(beta1).add_((1 - beta1) * sensitivity)
                uncertainty.mul_(beta2).add_((1 - beta2) * (sensitivity - smoothed).abs())

    def importance(self, name: str) -> torch.Tensor:
        """S [r] of one matrix's triplets."""
        q, values, p = (a * b for a, b in zip(self.smoothed[name], self.uncertainty[name], strict=True))
        return values[:, 0] + (q.mean(dim=1) + p.mean(dim=0))


def most_important(importance: Mapping[str, torch.Tensor], count: int) -> dict[str, torch.Tensor]:
    """True for the ``count`` largest of all matrices' values; of equal ones, for the first.

    >>> most_important({"a": torch.tensor([3.0, 1.0]), "b": torch.tensor([2.0, 2.0])}, 2)
    {'a': tensor([ True, False]), 'b': tensor([ True, False])}
    """
    joined = torch.cat(list(importance.values()))
    kept = torch.zeros_like(joined, dtype=torch.bool)
    kept[joined.argsort(descending=True, stable=True)[:count]] = True
    return dict(zip(importance, kept.split([len(scores) for scores in importance.values()]), strict=True))
