"""λmax of a block by this project and in three other ways; see ``bench_hessian``."""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from hessian.lanczos import lanczos
from hessian.products.leaves import Factors, LeafHessian
from hessian.products.passes import Passes
from hessian.solve import lockstep
from hessian.study.study import Study
from lorabench.training import memory
from lorabench.training.data import Encoded, collate

BATCH = 4
"""Sequences of a padded batch in the ways (a), (b) and (c)."""

AGREE = 1e-3
"""Largest relative difference of a λmax."""


@dataclass
class Outcome:
    """What one way gave for a block, or for all blocks of a layer: λmax and products of each."""

    values: list[float]
    products: list[int]
    seconds: float
    peak: int


@contextlib.contextmanager
def peft_model(study: Study, block: Factors) -> Iterator[tuple[Any, list[torch.nn.Parameter]]]:
    """The base with PEFT's layer on one matrix, holding the block's factors."""
    from peft import LoraConfig, get_peft_model

    rank = block.lora_A.shape[0]
    base = study.base
    base.remember([f"{block.name}.weight"])
    model: Any = get_peft_model(base.model, LoraConfig(r=rank, lora_alpha=rank, target_modules=[block.name]))
    layer: Any = base.model.get_submodule(block.name)
    layer.scaling["default"] = block.scale
    pair = [layer.lora_A["default"].weight, layer.lora_B["default"].weight]
    with torch.no_grad():
        pair[0].copy_(block.lora_A)
        pair[1].copy_(block.lora_B)
        layer.get_base_layer().weight -= block.scale * block.lora_B @ block.lora_A
    model.eval()
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield model, pair
    finally:
        model.unload()
        base.restore()


def padded_batches(study: Study, examples: Sequence[Encoded]) -> list[tuple[dict[str, Any], torch.Tensor]]:
    """Batches in the data's order: model inputs, and labels with −100 where nothing is predicted."""
    batches = []
    for start in range(0, len(examples), BATCH):
        ids, attention, predict = collate(
            examples[start : start + BATCH], study.base.tokenizer.pad_token_id, torch.device("cpu")
        )
        labels = torch.full_like(ids, -100)
        labels[:, :-1] = torch.where(predict[:, :-1], ids[:, 1:], -100)
        batches.append(({"input_ids": ids, "attention_mask": attention, "use_cache": False}, labels))
    return batches


def summed_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cross entropy summed over the predicted tokens, all logits at hand."""
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1).float(), labels.flatten(), ignore_index=-100, reduction="sum")


def measure(work: Callable[[], tuple[list[float], list[int]]]) -> Outcome:
    """Run and measure."""
    memory.reset_peak(torch.device("cpu"))
    started = time.perf_counter()
    values, products = work()
    return Outcome(values, products, time.perf_counter() - started, memory.peak(torch.device("cpu")))


def ours(study: Study, blocks: Sequence[Factors], layer: int, examples: Sequence[Encoded]) -> tuple[Outcome, float]:
    """All variants from shared graphs; and the seconds of the standard errors, which the other ways do not give."""
    vectors: list[torch.Tensor] = []
    hessian: LeafHessian

    def work() -> tuple[list[float], list[int]]:
        nonlocal hessian
        passes = Passes(study.base.model, examples, layer, study.base.tokenizer.pad_token_id)
        hessian = LeafHessian(passes, [blocks[0].name], study.solver.budget(study.trainer))
        generators = [torch.Generator().manual_seed(0) for _ in blocks]
        results = [result for some in lockstep(hessian, blocks, generators, study.solver.rule()) for result in some]
        for block, result in zip(blocks, results, strict=True):
            if not result.converged:
                print(f"  a block of {block.name} did not converge in {result.iterations} products")
        vectors.extend(result.vectors for result in results)
        return [result.eigenvalues[0] for result in results], [result.iterations for result in results]

    outcome = measure(work)
    started = time.perf_counter()
    hessian.parts(blocks, vectors)
    return outcome, time.perf_counter() - started


def reference(study: Study, block: Factors, examples: Sequence[Encoded]) -> Outcome:
    """Way (a)."""
    batches, targets = padded_batches(study, examples), sum(e.target_tokens for e in examples)

    def work() -> tuple[list[float], list[int]]:
        with peft_model(study, block) as (model, pair):

            def product(vector: torch.Tensor) -> torch.Tensor:
                total = torch.zeros(block.size)
                for inputs, labels in batches:
                    loss = summed_loss(model(**inputs).logits, labels) / targets
                    gradients = torch.autograd.grad(loss, pair, create_graph=True)
                    seconds = torch.autograd.grad(gradients, pair, block.split(vector))
                    total += torch.cat([second.flatten() for second in seconds])
                return total

            result = lanczos(
                product,
                block.size,
                tol=study.hessian.tol,
                max_iter=study.hessian.max_iter,
                generator=torch.Generator().manual_seed(0),
                dtype=torch.float32,
            )
        return [result.eigenvalues[0]], [result.iterations]

    return measure(work)


class Sigmoided(torch.nn.Module):
    """SiLU of operations with a forward derivative, which torch's own has not and curvlinops needs."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x · σ(x)."""
        return x * torch.sigmoid(x)


def curvlinops(study: Study, block: Factors, examples: Sequence[Encoded], _: float) -> dict[str, Outcome]:
    """Way (b)."""
    from curvlinops import HessianLinearOperator
    from scipy.sparse.linalg import eigsh

    class Logits(torch.nn.Module):
        def __init__(self, model: Any):
            super().__init__()
            self.model = model

        def forward(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
            return self.model(**inputs).logits.flatten(0, 1)

    class Summed(torch.nn.CrossEntropyLoss):
        """Cross entropy over flattened labels."""

        def forward(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
            return super().forward(logits, labels.flatten())

    batches, targets = padded_batches(study, examples), sum(e.target_tokens for e in examples)
    calls = 0

    def work() -> tuple[list[float], list[int]]:
        nonlocal calls
        with peft_model(study, block) as (model, pair):
            parts = [layer.mlp for layer in model.model.model.layers]
            for part in parts:
                kept, part.act_fn = part.act_fn, Sigmoided()
            operator = HessianLinearOperator(
                Logits(model),
                Summed(reduction="sum", ignore_index=-100),
                pair,
                batches,
                check_deterministic=False,
                num_data=len(examples),
                batch_size_fn=lambda inputs: len(inputs["input_ids"]),
            )
            counted = operator.to_scipy()
            plain = counted._matvec

            def counting(vector: Any) -> Any:
                nonlocal calls
                calls += 1
                return plain(vector)

            counted._matvec = counting
            [value] = eigsh(counted, k=1, which="LA", tol=study.hessian.tol, return_eigenvectors=False)
            for part in parts:
                part.act_fn = kept
        return [float(value) / targets], [calls]

    return {"own test": measure(work)}


def eigenthings(study: Study, block: Factors, examples: Sequence[Encoded], expected: float) -> dict[str, Outcome]:
    """Way (c) with as many steps as its own residual test wants, and with as few as reach the value, which nobody knows before.

    A longer run takes the products of a shorter one, and their seconds, from it.
    """
    from hessian_eigenthings import HessianOperator
    from hessian_eigenthings import lanczos as run

    batches, targets = padded_batches(study, examples), sum(e.target_tokens for e in examples)
    done: list[tuple[torch.Tensor, float]] = []
    ends: dict[str, Outcome] = {}
    calls = 0

    def loss(model: Any, batch: Any) -> torch.Tensor:
        return len(batches) * summed_loss(model(**batch[0]).logits, batch[1]) / targets

    with peft_model(study, block) as (model, _):
        operator = HessianOperator(model, batches, loss, param_filter=lambda name, _: "lora_" in name)
        plain = operator.matvec

        def replaying(vector: torch.Tensor) -> torch.Tensor:
            nonlocal calls
            if calls == len(done):
                started = time.perf_counter()
                done.append((plain(vector), time.perf_counter() - started))
            calls += 1
            return done[calls - 1][0]

        operator.matvec = replaying
        for steps in range(8, 129, 4):
            calls, before = 0, len(done)

            def work(steps: int = steps) -> tuple[list[float], list[int]]:
                nonlocal result
                result = run(operator, k=1, max_iter=steps, which="LA", seed=0, tol=study.hessian.tol, reorthogonalize=True)
                return [float(result.eigenvalues[0])], [steps]

            result: Any = None
            outcome = measure(work)
            outcome.seconds += sum(seconds for _, seconds in done[:before])
            if abs(outcome.values[0] - expected) <= AGREE * abs(expected):
                ends.setdefault("fewest steps", outcome)
            if result.converged[0]:
                ends["own test"] = outcome
            if len(ends) == 2:
                break
    return ends or {"128 steps": outcome}
