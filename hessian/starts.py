"""Where the adapters of a variant start: factors for the leaf identity, or parameters in an adapted model."""

import contextlib
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils import SAFETENSORS_WEIGHTS_NAME
from safetensors.torch import load_file

from hessian.products.adapters import Parameters
from hessian.products.leaves import Factors
from lorabench.errors import UserError
from lorabench.models.base import Base
from lorabench.models.shapes import LINEAR, linear_shapes, matrix, oriented
from lorabench.terminal.bars import note
from lorabench.training import seed
from lorabench.training.calibration import Calibration
from lorabench.training.checkpoint import load_trained
from lorabench.variants.base import Variant, adapter_layers, base_of


def generator(number: int, name: str) -> torch.Generator:
    """The generator of one matrix: what it draws does not depend on which other matrices are looked at."""
    digest = hashlib.sha256(f"{seed.stream_seed(number, 'init')}/{name}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def factors(base: Base, variant: Any, names: Sequence[str], number: int, calibration: Calibration) -> list[Factors]:
    """The blocks of a bilinear variant at its start, drawn as by ``attach`` but matrix by matrix; the model is left alone."""
    variant.prepare(base.model, names, calibration)
    blocks = []
    for name in names:
        weight = matrix(base.model.get_submodule(name)).detach()
        a, b = variant.factors(name, weight.float().contiguous(), generator(number, name))
        b = torch.zeros(weight.shape[0], a.shape[0]) if b is None else b
        blocks.append(Factors(name, a.float().to(weight.device), b.float().to(weight.device), variant.scale))
    return blocks


@contextlib.contextmanager
def adapted_model(base: Base, variant: Variant, number: int, calibration: Calibration) -> Iterator[Any]:
    """The base with the adapters of a cell of this seed; afterwards the base has its own weights again."""
    base.remember(variant.touched(linear_shapes(base.spec)))
    with seed.deterministic(), torch.random.fork_rng():
        torch.manual_seed(seed.stream_seed(number, "init"))  # as a cell does
        adapted = variant.attach(base.model, seed.generator(number, "init"), calibration)
    variant.train_only(adapted)
    adapted.eval()
    try:
        yield adapted
    finally:
        variant.detach(adapted)
        base.restore()
        base.model.requires_grad_(False)  # a variant may train some of the base


def load_cell(base: Base, variant: Any, adapted: Any, folder: Path) -> None:
    """Bring the adapters of an ``adapted_model`` to the trained values of a cell, on the base W − s·B₀A₀ of its training.

    B₀A₀ are those of its saved adapter [B, −B₀][A; A₀]: gradients and decompositions, made anew, differ with the samples, the
    hardware and the precision.

    Raises:
        UserError: the files are missing, or of other adapters.
    """
    load_trained(variant.trained(adapted), folder / "trained.safetensors")
    if not getattr(variant, "initial", None) and not variant.merges_while_training:
        return
    file = folder / "adapter" / SAFETENSORS_WEIGHTS_NAME
    if not file.exists():
        raise UserError(f"{file} is missing, which holds where the cell's adapter started; train the cell again")
    saved = load_file(file)
    with torch.no_grad():
        for name, layer in adapter_layers(adapted):
            a, b = (saved[f"base_model.model.{name}.lora_{factor}.weight"].float() for factor in "AB")
            start = variant.scale * b[:, variant.rank :] @ a[variant.rank :]  # −s·B₀A₀
            plain = layer.get_base_layer()
            matrix(plain).copy_(oriented(plain, base.pristine[f"{name}.weight"]).float() + start)


def parameters(adapted: Any, variant: Variant, name: str, members: Sequence[str]) -> Parameters:
    """What the variant trains in the matrices ``members``, as one block; what matrices share is in it once.

    Raises:
        UserError: it trains nothing there, or what other matrices have a part in: the passes begin at a matrix's own layer.
    """
    trained = {id(p) for p in variant.trained(adapted).values()}
    tensors = {id(p): p for member in members for p in base_of(adapted).get_submodule(member).parameters() if id(p) in trained}
    if not tensors:
        raise UserError(f"variant={variant.name} trains nothing in {name}: there is no block to measure")
    outside = {id(p) for other, layer in adapter_layers(adapted) if other not in members for p in layer.parameters()}
    if tensors.keys() & outside:
        raise UserError(
            f"variant={variant.name} shares what it trains in {name} with other matrices: it has no block of its own"
        )
    return Parameters(name, tuple(tensors.values()))


def matrices(adapted: Any, variant: Variant) -> list[str]:
    """Names of the linear layers in which the variant trains something."""
    head = adapted.get_output_embeddings()
    modules = ((name, module) for name, module in base_of(adapted).named_modules() if module is not head)
    return variant.targets(name for name, module in modules if isinstance(module, (*LINEAR, BaseTunerLayer)))


def note_outside(adapted: Any, variant: Variant) -> None:
    """Say so in one line where the variant trains parameters outside the matrices that it adapts, which no block has."""
    inside = {id(p) for name in matrices(adapted, variant) for p in base_of(adapted).get_submodule(name).parameters()}
    outside = [name for name, p in variant.trained(adapted).items() if id(p) not in inside]
    if outside:
        note(f"variant={variant.name}: {len(outside)} parameters outside its matrices are in no block, such as {outside[0]}")
