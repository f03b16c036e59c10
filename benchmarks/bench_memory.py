"""Peak memory and time of training steps with and without trainer.gradient_checkpointing, each in a process of its own.

The model has SmolLM2-135M's shape and random weights; memory is that of a process from before the adapter is attached to its
last step, the base included. The losses of both must be the same numbers.

    make bench-memory
"""

import argparse
import multiprocessing
import time
from statistics import median

import torch
from hydra import compose, initialize_config_dir

from lorabench import schema
from lorabench.cells.cell import Cell
from lorabench.cells.session import current
from lorabench.schema import CONF
from lorabench.training import memory, seed
from lorabench.training.calibration import Calibration
from lorabench.training.data import Corpus
from lorabench.training.loop import train


def measured(variant: str, tokens: int, steps: int, wanted: bool) -> tuple[int, float, list[float]]:
    """Bytes at the peak, seconds a step, and the losses, in this process."""
    torch.set_num_threads(1)
    schema.register()
    words = ["model=smollm2-135m", "model.weights=random", "model.dtype=float32", f"variant={variant}", "device=cpu"]
    words += [f"trainer.micro_batch_tokens={tokens}", f"trainer.gradient_checkpointing={str(wanted).lower()}"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cell = Cell.of(compose("config", words), current())
    base = cell.base()
    pairs = [(cell.task.prompt(e), cell.task.target(e)) for e in cell.task.train_examples()[:500]]
    corpus = Corpus(pairs, base.tokenizer, cell.trainer.max_length)
    count = next(n for n in range(1, 500) if sum(len(e.ids) for e in corpus.encode(range(n + 1))) > tokens)
    memory.reset_peak(base.device)
    model = cell.variant.attach(base.model, seed.generator(0, "init"), Calibration(corpus, range(count), cell.trainer))
    schedule = [list(range(count))] * steps
    started = time.perf_counter()
    training = train(model, cell.variant, corpus, schedule, lr=1e-4, settings=cell.trainer, dropout_seed=0)
    return memory.peak(base.device), (time.perf_counter() - started) / steps, training.loss


def main() -> None:
    """Measure and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variants", nargs="+", default=["lora"])
    parser.add_argument("--tokens", type=int, default=512, help="of a step, all in one micro-batch")
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3, help="of which medians are shown, and ranges in brackets")
    options = parser.parse_args()
    print("| variant | peak, GB | recomputing | s a step | recomputing | same losses |")
    print("|---|---|---|---|---|---|")
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        for name in options.variants:
            arguments = [(name, options.tokens, options.steps, wanted) for wanted in (False, True)]
            rounds = [[pool.apply(measured, each) for each in arguments] for _ in range(options.rounds)]
            sides = list(zip(*rounds, strict=True))
            peaks = " | ".join(text([one[0] / 1e9 for one in side], 2) for side in sides)
            seconds = " | ".join(text([one[1] for one in side], 1) for side in sides)
            same = all(one[2] == rounds[0][0][2] for side in sides for one in side)
            print(f"| {name} | {peaks} | {seconds} | {'yes' if same else 'no'} |", flush=True)


def text(values: list[float], digits: int) -> str:
    """Median and range."""
    return f"{median(values):.{digits}f} ({min(values):.{digits}f} – {max(values):.{digits}f})"


if __name__ == "__main__":
    main()
