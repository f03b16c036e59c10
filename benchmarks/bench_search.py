"""What a search over paper 2's 45,360 candidates costs: embedding them once, then time and memory of a question.

  tree    sweeps.language.encoder: texts form a tree, of which each token is computed once
  plain   a sample of the texts, each whole, in batches of texts of the same length
  search  30 evaluations from 5 first points; seconds of the 25 questions, and the peak memory of the process

The scores are a smooth function of the numbers with noise: what a question costs does not hang on them. Every method runs in a
process of its own. With --left-out, how well values that were left out are placed (sweeps.language.features.left_out_fit).

    make bench-search ARGS="--methods language_bo,language_bo:method.token=false,gp"
"""

import argparse
import json
import math
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from lorabench.encoder import Frozen
from lorabench.schema import CONF
from sweeps.bench.catalog import method_config
from sweeps.bench.landscapes import Landscape
from sweeps.bench.replay import replay
from sweeps.language import features
from sweeps.language.encoder import Encoder
from sweeps.language.prompts import Prompts, Text
from sweeps.space import Space, factors

METHODS = "random,tpe,gp,latent_gp,nomad,language_bo:method.token=false,language_bo"
BATCH = 16
"""Texts of a batch of the plain way."""


def space(experiment: str) -> Space:
    """That of an experiment's params."""
    sweeper: Any = OmegaConf.load(CONF / "experiment" / f"{experiment}.yaml").hydra.sweeper
    derived: Any = OmegaConf.to_container(sweeper.derived)
    config = OmegaConf.load(CONF / "config.yaml")
    hidden = {name for rule in derived.values() for name in factors(rule) if name not in config}
    return Space({key: values.split(",") for key, values in sweeper.params.items()}, derived, hidden)


def embedding(candidates: Space, encoder: str, sample: int) -> dict[str, float]:
    """Seconds of all candidates by the tree and of a sample by the plain way, and how far the two are apart."""
    model, tokenizer, fingerprint, limit, kept = Frozen(encoder)()
    prompts = Prompts(candidates, Text.read("lora"))
    with tempfile.TemporaryDirectory() as folder:
        tree = Encoder(prompts, model, tokenizer, fingerprint, limit, Path(folder))
        started = time.perf_counter()
        table = np.array(tree.table(token=False))
        seconds = time.perf_counter() - started
        for file in Path(folder).iterdir():  # for the searches, which would compute it again
            shutil.copy(file, kept)
    chosen = np.random.default_rng(0).choice(len(candidates), sample, replace=False).tolist()
    head = tokenizer(prompts.head)["input_ids"]
    texts = {
        index: head + [i for line in prompts.lines(index) for i in tokenizer(line, add_special_tokens=False)["input_ids"]]
        for index in chosen
    }
    chosen.sort(key=lambda index: len(texts[index]))
    started, apart = time.perf_counter(), 0.0
    with torch.no_grad():
        for length in sorted({len(text) for text in texts.values()}):
            alike = [index for index in chosen if len(texts[index]) == length]
            for i in range(0, len(alike), BATCH):
                part = alike[i : i + BATCH]
                states = model(input_ids=torch.tensor([texts[index] for index in part])).last_hidden_state[:, -1]
                distance = (states - torch.from_numpy(table[part])).norm(dim=1) / states.norm(dim=1)
                apart = max(apart, float(distance.max()))
    plain = time.perf_counter() - started
    return {
        "candidates": len(candidates),
        "tree_seconds": seconds,
        "plain_seconds_of_sample": plain,
        "plain_over_tree": plain / sample * len(candidates) / seconds,
        "largest_relative_difference": apart,
        "tokens_of_a_text": statistics.mean(map(len, texts.values())),
    }


def search(candidates: Space, label: str, encoder: str, budget: int) -> dict[str, Any]:
    """Seconds of the questions of one search."""
    name, *changes = label.split(":")
    if name == "language_bo":
        changes.append(f"method.encoder.model={encoder}")
    config = method_config(name, changes)
    scores = -np.square(candidates.encoded - 0.6).sum(1) + 0.05 * np.random.default_rng(0).standard_normal(len(candidates))
    landscape = Landscape("", candidates, scores, "lora", "")
    run = replay(landscape, instantiate(config["method"]), 0, budget, config["initial"], config["design"])
    seconds = run["seconds"][1:]  # the first question loads modules and embeddings
    # Not getrusage's: a process that another one starts begins there with the peak of that one.
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    memory = int(peak[1]) / 2**20 if peak else math.nan
    return {"median": statistics.median(seconds), "largest": max(seconds), "first": run["seconds"][0], "gib": memory}


def main() -> None:
    """Print a table; with --one, one method's numbers as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--experiment", default="llama7b_math_search")
    parser.add_argument("--encoder", default="smollm2-135m")
    parser.add_argument("--methods", default=METHODS)
    parser.add_argument("--budget", type=int, default=30)
    parser.add_argument("--sample", type=int, default=128, help="texts of the plain way; 0: no embedding is timed")
    parser.add_argument("--left-out", action="store_true")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    candidates = space(options.experiment)
    if options.one:
        print(json.dumps(search(candidates, options.methods, options.encoder, options.budget)))
        return
    print(f"{options.experiment}: {len(candidates)} candidates, encoder {options.encoder}, {torch.get_num_threads()} threads")
    if options.sample:
        for name, value in embedding(candidates, options.encoder, options.sample).items():
            print(f"* {name.replace('_', ' ')}: {value:.3g}")
    if options.left_out:
        parts = Frozen(options.encoder)()
        for domain in (True, False):
            prompts = Prompts(candidates, Text.read("lora"), domain)
            table = Encoder(prompts, *parts).table(token=False)
            r2 = features.left_out_fit(
                table, {key: column for key, column in prompts.columns.items() if key in candidates.columns}
            )
            print(f"* R² of values left out, {'with' if domain else 'without'} the domain's text: {_in_a_line(r2)}")
        random = features.left_out_fit(features.without_language(prompts.columns), prompts.columns)
        print(f"* the same of random vectors: {_in_a_line(random)}")
    print("\n| method | seconds a question, median | largest | first | peak memory, GiB |\n| :-- | --: | --: | --: | --: |")
    for label in options.methods.split(","):
        command = [
            sys.executable,
            "-m",
            "benchmarks.bench_search",
            "--one",
            "--methods",
            label,
            "--experiment",
            options.experiment,
        ]
        command += ["--encoder", options.encoder, "--budget", str(options.budget)]
        seconds = json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()[-1])
        numbers = [f"{seconds[key]:.2f}" for key in ("median", "largest", "first", "gib")]
        print("| " + " | ".join([label, *numbers]) + " |", flush=True)


def _in_a_line(values: dict[str, float]) -> str:
    return ", ".join(f"{key} {value:.2f}" for key, value in values.items())


if __name__ == "__main__":
    main()
