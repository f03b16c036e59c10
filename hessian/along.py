"""λmax of adapter blocks along training: the probe that a cell with ``hessian.every=N`` carries."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from hessian import jackknife, starts
from hessian.adapters import AdapterHessian
from hessian.passes import ATTENTION, Budget, Passes
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
        matrices: names of linear layers, or one name.
        layers: indices of decoder layers, or one; None for all.
        samples: the first so many of the cell's training samples, two or more.
        tol: relative tolerance of the eigenvalue.
        max_iter: most products of a block.
        memory_gb: what graphs and Lanczos bases may each hold.
        attention: math or eager.
    """

    every: int | None
    matrices: list[str] | str
    layers: list[int] | int | None
    samples: int
    tol: float
    max_iter: int
    memory_gb: float
    attention: str

    def __post_init__(self) -> None:
        for key, least in (("every", 1), ("samples", 2), ("max_iter", 1)):
            value = getattr(self, key)
            if not (isinstance(value, int) and value >= least) and (key, value) != ("every", None):
                raise UserError(f"hessian.{key}={value} must be a whole number of at least {least}")
        for key in ("tol", "memory_gb"):
            if not getattr(self, key) > 0:
                raise UserError(f"hessian.{key}={getattr(self, key)} must be greater than 0")
        if self.attention not in ATTENTION:
            raise UserError(f"hessian.attention={self.attention} has no second derivative; available: {', '.join(ATTENTION)}")

    def check(self, names: Iterable[str]) -> None:
        """Raise UserError unless the adapted linear layers of these names have all blocks that are asked for."""
        self._blocks(names)

    def measure(
        self, model: Any, examples: Sequence[Encoded], pad: int, trainer: TrainerConfig, seed: int
    ) -> list[dict[str, Any]]:
        """λmax of the chosen blocks, one entry each; the model is left in the mode in which it was.

        Raises:
            UserError: a matrix or layer that has no adapter, too few samples, or what ``hessian.passes.check`` refuses.
            ArithmeticError: products that are not finite.
        """
        if sum(example.target_tokens > 0 for example in examples) < 2:
            raise UserError("hessian.every: fewer than two of the samples have a target token; raise hessian.samples")
        mode = model.training
        model.eval()
        budget = Budget(int(self.memory_gb * 2**30), trainer.micro_batch_tokens, trainer.max_padding)
        rows = []
        try:
            for layer, names in self._blocks(name for name, _ in adapter_layers(model)).items():
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

    def _blocks(self, names: Iterable[str]) -> dict[int, list[str]]:
        """Those of the names that are asked for, by layer."""
        known = {name: (int(match.group(1)), match.group(2)) for name in names if (match := NAME.search(name))}
        depths, adapted = {layer for layer, _ in known.values()}, {matrix for _, matrix in known.values()}
        matrices = self.matrices if isinstance(self.matrices, list) else [self.matrices]
        layers = self.layers if isinstance(self.layers, list) else [self.layers]
        for matrix in matrices:
            if matrix not in adapted:
                raise UserError(f"hessian.matrices: no adapter on '{matrix}'; {nearest(str(matrix), adapted)}")
        for layer in layers:
            if layer is not None and layer not in depths:
                raise UserError(f"hessian.layers: the model has no layer {layer}; available: 0 … {max(depths, default=0)}")
        found: dict[int, list[str]] = {}
        for name, (layer, matrix) in known.items():
            if matrix in matrices and (layer in layers or self.layers is None):
                found.setdefault(layer, []).append(name)
        if not found:
            raise UserError(f"hessian.matrices={matrices} and hessian.layers={layers} name no block; null means all layers")
        return found
