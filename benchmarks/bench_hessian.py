"""λmax of the blocks of one matrix for all variants that share a graph, against three other ways, in one run.

(a) the way of public reference code: PEFT adapters, products rebuilt by autograd at every iteration, all logits, padded
batches in the data's order, one variant at a time; our Lanczos and stop rule. (b) curvlinops' operator under scipy's eigsh.
(c) hessian-eigenthings. (b) and (c) run for ``--others`` variants alone and are compared block by block. All must give the
same λmax to 1e-3. The ways take turns within a layer; what counts is the ratio of seconds, for (b) and (c) over our seconds
by the block's share of our products. (c) has no stop rule, but tells the residual: it gets the smallest multiple of 4 steps
with which that is below our tolerance; beside it, the fewest with which its λ is right, which nobody knows before.

    pip install curvlinops-for-pytorch hessian-eigenthings
    make bench-hessian DATA=folder-with-gsm8k
"""

import argparse
import statistics
from collections.abc import Sequence

import torch
from hydra import initialize_config_dir
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.hessian_ways import AGREE, Outcome, curvlinops, eigenthings, ours, padded_batches, reference
from hessian import starts
from hessian.__main__ import compose_config
from hessian.products.leaves import Factors, LeafHessian
from hessian.products.passes import Passes
from hessian.study.study import Study
from lorabench.cells.session import current
from lorabench.schema import CONF
from lorabench.training.data import Encoded


def flops(study: Study, block: Factors, layer: int, examples: Sequence[Encoded]) -> tuple[float, float]:
    """FLOPs of one product from kept graphs and of building them, in forward passes of the whole model with all logits."""
    passes = Passes(study.base.model, examples, layer, study.base.tokenizer.pad_token_id)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        for inputs, _ in padded_batches(study, examples):
            study.base.model(**inputs)
    forward = counter.get_total_flops()
    hessian = LeafHessian(passes, [block.name], study.solver.budget(study.trainer))
    vector = torch.ones(block.size)
    with FlopCounterMode(display=False) as counter:
        hessian.products([block], [vector])
    first = counter.get_total_flops()
    with FlopCounterMode(display=False) as counter:
        hessian.products([block], [vector])
    again = counter.get_total_flops()
    return again / forward, (first - again) / forward


def compare(
    study: Study, layer: int, examples: Sequence[Encoded], compared: Sequence[str]
) -> tuple[dict[str, list[float]], float]:
    """Run all ways on a layer; their seconds over ours, and the largest relative difference of a λmax.

    Args:
        study: what the blocks are of.
        layer: whose first matrix it is.
        examples: the data.
        compared: variants for the ways (b) and (c).
    """
    place = next(place for place in study.places if place.layer == layer)
    blocks = {}
    for name, method in study.methods.items():
        [blocks[name]] = starts.factors(study.base, method.variant, [place.name], study.settings.seed, study.calibration)
    product, build = flops(study, next(iter(blocks.values())), layer, examples)
    print(f"\nlayer {layer} {place.matrix}: a product from kept graphs {product:.2f} forward passes, building {build:.2f}")
    own, errors = ours(study, list(blocks.values()), layer, examples)
    values = dict(zip(blocks, own.values, strict=True))
    print("  products: " + ", ".join(f"{name} {count}" for name, count in zip(blocks, own.products, strict=True)))
    print_row("ours, all together", own, own.seconds)
    print(f"  {'with standard errors':<26} {own.seconds + errors:8.1f} s")
    ratios: dict[str, list[float]] = {"a": []}
    rebuilt = {name: reference(study, block, examples) for name, block in blocks.items()}
    products = [count for outcome in rebuilt.values() for count in outcome.products]
    seconds, peak = sum(outcome.seconds for outcome in rebuilt.values()), max(outcome.peak for outcome in rebuilt.values())
    ratios["a"].append(print_row("(a) one by one", Outcome([], products, seconds, peak), own.seconds))
    differences = [abs(outcome.values[0] - values[name]) / abs(values[name]) for name, outcome in rebuilt.items()]
    for name in compared:
        share = own.seconds * own.products[list(blocks).index(name)] / sum(own.products)
        for way, work in (("b", curvlinops), ("c", eigenthings)):
            for end, outcome in work(study, blocks[name], examples, values[name]).items():
                ratios.setdefault(f"{way}, {end}", []).append(print_row(f"({way}) {name}, {end}", outcome, share))
                differences.append(abs(outcome.values[0] - values[name]) / abs(values[name]))
    print(f"  largest difference of a λmax: {max(differences):.1e} (demanded: {AGREE:g})", flush=True)
    return ratios, max(differences)


def print_row(label: str, outcome: Outcome, against: float) -> float:
    """Print what a way took; return its seconds over ``against``."""
    count, peak = f"{sum(outcome.products):4d} products", f"{outcome.peak / 2**30:5.2f} GiB"
    print(f"  {label:<26} {outcome.seconds:8.1f} s  {count}  {peak}  x{outcome.seconds / against:.2f}", flush=True)
    return outcome.seconds / against


def main() -> None:
    """Print the comparison; exit code 1 if the ways disagree."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("overrides", nargs="*", help="of python -m hessian: model=… task=… samples=… rank=… matrices=…")
    parser.add_argument("--layers", type=int, nargs="*", help="default: the first, the middle and the last")
    parser.add_argument("--others", nargs="*", default=["lora", "pissa"], help="variants for the ways (b) and (c)")
    options = parser.parse_args()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        study = Study(compose_config([*options.overrides, "layers=all"]), current())
        assert study.methods
    layers = options.layers or [0, study.depth // 2, study.depth - 1]
    examples = study.examples(study.most_samples)
    tokens = sum(len(e.ids) for e in examples)
    print(f"{study.model.name}: {len(examples)} sequences, {tokens} tokens, rank {study.settings.rank}")
    ratios: dict[str, list[float]] = {"a": []}
    differences = []
    for layer in layers:
        of_layer, difference = compare(study, layer, examples, options.others)
        differences.append(difference)
        for way, values in of_layer.items():
            ratios.setdefault(way, []).extend(values)
    print()
    for way, values in ratios.items():
        if values:
            print(f"({way}) over ours: median {statistics.median(values):.2f}, from {min(values):.2f} to {max(values):.2f}")
    if max(differences) > AGREE:
        raise SystemExit(f"the ways disagree: {max(differences):.1e} is more than {AGREE:g}")


if __name__ == "__main__":
    main()
