"""λmax of adapter blocks along training: the probe of ``conf/probe/hessian.yaml``."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

from hessian import jackknife, starts
from hessian.blocks import choose, places_of
from hessian.products.adapters import AdapterHessian, Parameters
from hessian.products.passes import Passes
from hessian.settings import Solver
from hessian.solve import solve
from lorabench.errors import UserError
from lorabench.probes.base import Probe
from lorabench.schema import KNOB, TrainerConfig
from lorabench.training.data import Encoded
from lorabench.variants.base import Variant


@dataclass(kw_only=True)
class Along(Probe):
    """λmax at the present weights of an adapted model, of what the variant trains in each chosen matrix.

    Attributes:
        matrices: names of linear layers, or a name.
        layers: numbers of decoder layers, or a number; None for all.
        tol: relative residual at which an eigenvalue is accepted.
        max_iter: most products of a block.
        memory_gb: GiB that graphs and Lanczos bases may each hold.
        attention: math or eager.
    """

    version: ClassVar[int] = 1

    matrices: list[str] | str
    layers: list[int] | int | None
    samples: int
    tol: float
    max_iter: int
    memory_gb: float = field(metadata=KNOB)
    attention: str

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.samples < 2:
            raise UserError(f"probe.samples={self.samples} must be a whole number of at least 2")
        assert self._solver
        self._noted = False  # what no block has, once a run

    @cached_property
    def _solver(self) -> Solver:
        return Solver(self, "probe")

    def check(self, variant: Variant, names: Sequence[str], dtype: str) -> None:
        """Raise UserError unless the variant adapts all that is chosen of the linear layers of these names."""
        if dtype == "bfloat16":
            raise UserError("probe=hessian: second derivatives need float32, not bfloat16; use model.dtype=float32")
        self._chosen(names, variant.targets(names))

    def measure(
        self, model: Any, variant: Variant, examples: Sequence[Encoded], pad: int, trainer: TrainerConfig, seed: int
    ) -> list[dict[str, Any]]:
        """λmax of the chosen blocks, one entry each; the model is left in evaluation mode.

        Raises:
            UserError: a matrix in which the variant trains nothing, too few samples, or what ``products.passes.check`` refuses.
            ArithmeticError: products that are not finite.
        """
        if sum(example.target_tokens > 0 for example in examples) < 2:
            raise UserError("probe=hessian: fewer than two of the samples have a target token; raise probe.samples")
        if not self._noted:
            starts.note_outside(model, variant)
            self._noted = True
        model.eval()
        rows = []
        adapted = starts.matrices(model, variant)
        for layer, names in self._chosen(adapted, adapted).items():
            passes = Passes(model, examples, layer, pad, self.attention)
            blocks = [starts.parameters(model, variant, name, [name]) for name in names]
            rows += self._rows(passes, blocks, trainer, seed)
        return rows

    def _rows(self, passes: Passes, blocks: Sequence[Parameters], trainer: TrainerConfig, seed: int) -> list[dict[str, Any]]:
        hessian = AdapterHessian(passes, blocks, self._solver.budget(trainer))
        generators = [starts.generator(seed, f"along/{block.name}") for block in blocks]
        tokens = [example.target_tokens for example in passes.examples]
        rows = []
        for block, solution in zip(blocks, solve(hessian, blocks, generators, self._solver.rule()), strict=True):
            result = solution.result
            spread = jackknife.interval(jackknife.largest(solution.parts, tokens))
            rows.append(
                {
                    "name": block.name,
                    "lambda_max": result.eigenvalues[0],
                    "lambda_min": result.smallest,
                    "residual": result.residuals[0],
                    "stderr": spread.stderr,
                    "converged": result.converged,
                }
            )
        return rows

    def _chosen(self, names: Sequence[str], adapted: Sequence[str]) -> dict[int, list[str]]:
        """The chosen of the model's matrices by layer."""
        layers: dict[int, list[str]] = {}
        for place in choose(places_of(names), adapted, self.matrices, self.layers, "probe."):
            layers.setdefault(place.layer, []).append(place.name)
        return layers
