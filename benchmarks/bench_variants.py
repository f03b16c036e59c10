"""Time of a training step and peak memory of every variant beside LoRA's, on the embedded model.

Each round times every variant once, in turn, and LoRA directly before it; the ratio of the two is what counts. Memory is that
of a process of its own for each variant, from before the adapter is attached to the last step.

    make bench-variants
"""

import argparse
import multiprocessing
import statistics
import time
from collections import defaultdict

import torch
from hydra import compose, initialize_config_dir

from lorabench import schema
from lorabench.cells.cell import Cell
from lorabench.cells.session import current
from lorabench.models.shapes import linear_shapes
from lorabench.schema import CONF
from lorabench.training import memory, seed
from lorabench.training.calibration import Calibration
from lorabench.training.data import Corpus, batches, subset
from lorabench.training.loop import Training, train


def make(name: str, steps: int, rank: int) -> Cell:
    """The cell of this many steps."""
    schema.register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("config", [f"variant={name}", f"train_samples={8 * steps}", f"rank={rank}", "lr=1e-4", "device=cpu"])
    return Cell.of(cfg, current())


def steps_of(cell: Cell) -> tuple[float, Training]:
    """Attach the variant and train; return the seconds that attaching took, and the training."""
    base = cell.base()
    pairs = [(cell.task.prompt(e), cell.task.target(e)) for e in cell.task.train_examples()[:2000]]
    corpus = Corpus(pairs, base.tokenizer, cell.trainer.max_length)
    samples = subset(len(corpus), cell.settings.train_samples, seed.generator(0, "subset"))
    schedule = batches(samples, 8, 1, seed.generator(0, "order"))
    base.remember(cell.variant.touched(linear_shapes(cell.model)))
    started = time.perf_counter()
    model = cell.variant.attach(base.model, seed.generator(0, "init"), Calibration(corpus, samples, cell.trainer))
    attached = time.perf_counter() - started
    training = train(model, cell.variant, corpus, schedule, lr=cell.settings.lr, settings=cell.trainer, dropout_seed=0)
    cell.variant.detach(model)
    base.restore()
    return attached, training


def peak(name: str, rank: int) -> int:
    """Bytes at the peak of a few steps, in this process."""
    torch.set_num_threads(1)
    cell = make(name, 4, rank)
    cell.base()
    memory.reset_peak(torch.device("cpu"))
    steps_of(cell)
    return memory.peak(torch.device("cpu"))


def main() -> None:
    """Measure and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rank", type=int, default=8)
    options = parser.parse_args()
    torch.set_num_threads(1)
    names = sorted({file.stem for file in (CONF / "variant").glob("*.yaml")} - {"peft"})  # which needs a type
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        peaks = {name: pool.apply(peak, (name, options.rank)) for name in names}
    ratios, starts, milliseconds = defaultdict(list), defaultdict(list), defaultdict(list)
    for name in names:
        steps_of(make(name, 4, options.rank))  # warm: the SVDs are cached after it
    for _ in range(options.rounds):
        for name in names:
            _, reference = steps_of(make("lora", options.steps, options.rank))
            attached, training = steps_of(make(name, options.steps, options.rank))
            ratios[name].append(training.seconds / reference.seconds)
            starts[name].append(attached)
            milliseconds[name].append(1000 * training.seconds / training.steps)
    print("| variant | step, of LoRA's | range | step, ms | attaching, s | peak memory, MB | of LoRA's |")
    print("|---|---|---|---|---|---|---|")
    for name in names:
        middle = statistics.median(ratios[name])
        span = f"{min(ratios[name]):.2f} – {max(ratios[name]):.2f}"
        cost = f"{statistics.median(milliseconds[name]):.0f} | {statistics.median(starts[name]):.2f}"
        print(f"| {name} | {middle:.2f} | {span} | {cost} | {peaks[name] / 1e6:.0f} | {peaks[name] / peaks['lora']:.2f} |")


if __name__ == "__main__":
    main()
