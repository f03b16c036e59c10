"""λmax of adapter blocks along training: the probe that a cell with ``hessian.every=N`` carries."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hessian import jackknife, starts
from hessian.adapters import AdapterHessian
from hessian.passes import Budget, Passes
from hessian.solve import Rule, solve
from hessian.study import NAME
from lorabench.data import Encoded
from lorabench.errors import UserError, nearest
from lorabench.schema import TrainerConfig
from lorabench.variants.base import adapter_layers


@dataclass(kw_only=True)
class Along:
    """Measures λmax at the present weights of an adapted model, before the first step and after every ``every`` steps.

    Attributes:
        every: steps between two measurements; None for none at all.
        matrices: names of linear layers.
        layers: indices of decoder layers; None for all.
        samples: the first so many of the cell's training samples.
        tol: relative tolerance of the eigenvalue.
        max_iter: most products of a block.
        memory_gb: what graphs and Lanczos bases may each hold.
        attention: math or eager.
    """

    every: int | None
    matrices: list[str]
    layers: list[int] | None
    samples: int
    tol: float
    max_iter: int
    memory_gb: float
    attention: str

    def __post_init__(self) -> None:
        for key in ("every", "samples", "tol", "max_iter", "memory_gb"):
            value = getattr(self, key)
            if value is not None and not value > 0:
                raise UserError(f"hessian.{key}={value} must be greater than 0")

    def measure(
        self, model: Any, examples: Sequence[Encoded], pad: int, trainer: TrainerConfig, seed: int
    ) -> list[dict[str, Any]]:
        """λmax of the chosen blocks, one entry each; the model is left in the mode in which it was.

        Raises:
            UserError: a matrix or layer that has no adapter, or what ``hessian.passes.check`` refuses.
        """
        mode = model.training
        model.eval()
        budget = Budget(int(self.memory_gb * 2**30), trainer.micro_batch_tokens, trainer.max_padding)
        rows = []
        try:
            for layer, names in self._blocks(model).items():
                passes = Passes(model, examples, layer, pad, self.attention)
                rows += self._layer(passes, names, budget, seed)
        finally:
            model.train(mode)
        return rows

    def _layer(self, passes: Passes, names: list[str], budget: Budget, seed: int) -> list[dict[str, Any]]:
        blocks = [starts.parameters(passes.model, name, [name]) for name in names]
        hessian = AdapterHessian(passes, blocks, budget)
        generators = [starts.generator(seed, f"along/{name}") for name in names]
        tokens = [example.target_tokens for example in passes.examples]
        rows = []
        for name, solved in zip(names, solve(hessian, blocks, generators, Rule(1, self.tol, self.max_iter)), strict=True):
            result = solved.result
            spread = jackknife.interval(jackknife.largest(solved.parts, tokens))
            rows.append(
                {
                    "name": name,
                    "lambda_max": result.eigenvalues[0],
                    "lambda_min": result.smallest,
                    "residual": result.residuals[0],
                    "stderr": spread.stderr,
                    "converged": result.converged,
                }
            )
        return rows

    def _blocks(self, model: Any) -> dict[int, list[str]]:
        found: dict[int, list[str]] = {}
        known = [(name, match) for name, _ in adapter_layers(model) if (match := NAME.search(name))]
        adapted = {match.group(2) for _, match in known}
        for matrix in self.matrices:
            if matrix not in adapted:
                raise UserError(f"hessian.matrices: no adapter on '{matrix}'; {nearest(matrix, adapted)}")
        depth = 1 + max(int(match.group(1)) for _, match in known)
        for layer in self.layers or []:
            if not 0 <= layer < depth:
                raise UserError(f"hessian.layers: the model has no layer {layer}; available: 0 … {depth - 1}")
        for name, match in known:
            if match.group(2) in self.matrices and (self.layers is None or int(match.group(1)) in self.layers):
                found.setdefault(int(match.group(1)), []).append(name)
        return found
