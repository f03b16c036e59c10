"""Evaluate the cells of a sweep: one running engine against merging to disk and a new engine for every cell.

The second way is that of public reference code. Everything runs in one process tree on one machine, the ways taking turns,
so that the ratio holds where the seconds do not. Untrained adapters do: a LoRA with a random B of a trained one's size.

    make bench-eval DATA=folder-with-gsm8k ARGS="--cells 6 --problems 100"
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from hydra import compose, initialize_config_dir

from lorabench import models, schema, seed
from lorabench.__main__ import CONF
from lorabench.cell import Cell
from lorabench.generation.vllm import VLLMGenerator
from lorabench.generation.vllm_engine import Engine
from lorabench.models import Base
from lorabench.variants.base import Variant

B_SIZE = 0.01  # standard deviation of B: what some dozens of steps at the best learning rate leave


def adapter(variant: Variant, base: Base, number: int, folder: Path) -> dict[str, torch.Tensor]:
    """Attach a LoRA, save it for PEFT, and return the merged weights; the base is untouched afterwards."""
    generator = seed.generator(number, "init")
    base.remember([f"{name}.weight" for name in variant.targets(models.linear_shapes(base.spec))])
    model = variant.attach(base.model, generator)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.copy_(B_SIZE * torch.randn(parameter.shape, generator=generator))
    variant.save(model, folder)
    merged = variant.merged(model)
    variant.detach(model)
    base.restore()
    return merged


def tokens(base: Base, texts: Sequence[str]) -> int:
    """Number of generated tokens."""
    return sum(len(base.tokenizer(text)["input_ids"]) for text in texts)


def merge_to_disk(source: Path, adapter_folder: Path, target: Path) -> None:
    """What the reference code does for each cell: load base and adapter from disk, merge, save the whole model."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(source)
    PeftModel.from_pretrained(model, adapter_folder).merge_and_unload().save_pretrained(target)
    AutoTokenizer.from_pretrained(source).save_pretrained(target)


def main() -> None:
    """Run the three ways and print their table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with GSM8K's train.jsonl and test.jsonl")
    parser.add_argument("--cells", type=int, default=6)
    parser.add_argument("--problems", type=int, default=100)
    parser.add_argument("--new-tokens", type=int, default=160)
    parser.add_argument("--rank", type=int, default=16)
    options = parser.parse_args()
    schema.register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        overrides = ["model=smollm2-135m", "task=math", f"task.path={options.data}", "task.sets=[gsm8k]", "evaluator=vllm"]
        cell = Cell.of(compose("config", [*overrides, f"task.test_samples={options.problems}", f"rank={options.rank}"]))
    base = models.load(cell.model, models.resolve_device("auto"))
    prompts = [cell.task.evaluation_prompt(example) for example in cell.task.test_examples()]
    with tempfile.TemporaryDirectory() as scratch:
        run(cell, base, prompts, options, Path(scratch))


def run(cell: Cell, base: Base, prompts: list[str], options: argparse.Namespace, scratch: Path) -> None:
    """Measure all ways and print."""
    assert isinstance(cell.generator, VLLMGenerator)
    shared = cell.generator
    cells = [adapter(cell.variant, base, number, scratch / str(number)) for number in range(options.cells)]
    source = scratch / "base"
    base.model.save_pretrained(source)
    base.tokenizer.save_pretrained(source)
    limits = [options.new_tokens] * len(prompts)
    ids = [base.tokenizer(prompt)["input_ids"] for prompt in prompts]
    end = base.tokenizer.eos_token_id

    started = time.perf_counter()
    shared.load(base)
    shared.use(None)
    shared.generate(prompts[:1], 1)
    start = time.perf_counter() - started
    rows: dict[str, list[dict[str, float]]] = {"shared": [], "anew": []}
    texts: list[list[str]] = []
    for merged in cells:
        started = time.perf_counter()
        shared.use(merged)
        shared.ready()
        ready = time.perf_counter()
        texts.append(shared.generate(prompts, options.new_tokens))
        done = time.perf_counter()
        rows["shared"].append({"other": ready - started, "generation": done - ready, "tokens": tokens(base, texts[-1])})
    shared.use(None)
    shared.close()

    arguments: dict[str, Any] = {
        "dtype": str(base.model.dtype).removeprefix("torch."),
        "max_model_len": shared.max_model_len,
        "enforce_eager": shared.eager,
        "distributed_executor_backend": "uni",
        "use_tqdm_on_load": False,
    }
    settings = shared.environment()
    for number, wanted in enumerate(texts):
        started = time.perf_counter()
        merge_to_disk(source, scratch / str(number), scratch / "merged")
        engine = Engine(settings, model=str(scratch / "merged"), **arguments)
        ready = time.perf_counter()
        found = engine.generate(ids, limits, [], end)
        done = time.perf_counter()
        engine.close()  # not counted
        same = sum(
            base.tokenizer.decode(out, skip_special_tokens=True) == text for (out, _), text in zip(found, wanted, strict=True)
        )
        print(f"cell {number}: {same} of {len(wanted)} texts are the same in both ways", flush=True)
        rows["anew"].append({"other": ready - started, "generation": done - ready, "tokens": tokens(base, wanted)})

    engine = Engine(
        settings, model=str(source), enable_lora=True, max_loras=len(cells), max_lora_rank=max(8, options.rank), **arguments
    )
    adapters = [str(scratch / str(number)) for number in range(len(cells)) for _ in ids]
    engine.generate(ids[:1] * len(cells), [1] * len(cells), [], end, adapters[:: len(ids)])  # load the adapters
    started = time.perf_counter()
    engine.generate(ids * len(cells), limits * len(cells), [], end, adapters)
    together = time.perf_counter() - started
    engine.close()
    report(rows, start, together, len(prompts))


def report(rows: dict[str, list[dict[str, float]]], start: float, together: float, problems: int) -> None:
    """Print the table."""

    def middle(way: str, key: str) -> float:
        return statistics.median(row[key] for row in rows[way])

    print(f"\n{len(rows['shared'])} cells, {problems} problems each; medians over the cells, range in brackets")
    for way, name in (("shared", "one engine, weights reloaded"), ("anew", "merge to disk, new engine")):
        spread = {
            key: f"[{min(r[key] for r in rows[way]):.2f}, {max(r[key] for r in rows[way]):.2f}]"
            for key in ("other", "generation")
        }
        speed = sum(r["tokens"] for r in rows[way]) / sum(r["generation"] for r in rows[way])
        print(
            f"  {name:<30} not generating {middle(way, 'other'):6.2f} s {spread['other']}"
            f"  generating {middle(way, 'generation'):6.1f} s {spread['generation']}  {speed:.0f} tokens/s"
        )
    total = {way: sum(row["other"] + row["generation"] for row in rows[way]) for way in rows}
    print(f"  not generating, ratio: {middle('anew', 'other') / middle('shared', 'other'):.1f}x (the one start: {start:.1f} s)")
    print(
        f"  total: {total['shared']:.0f} s + start against {total['anew']:.0f} s: "
        f"{total['anew'] / (total['shared'] + start):.2f}x"
    )
    generating = sum(row["generation"] for row in rows["shared"])
    print(f"  all cells in one batch of LoRA adapters: {together:.1f} s against {generating:.1f} s one after the other")


if __name__ == "__main__":
    main()
