"""Evaluate the cells of a sweep: one running engine against merging to disk and a new engine for every cell.

The second way is that of public reference code. The ways take turns, cell by cell, in one process tree on one machine, so that
the ratio holds where the seconds do not; the running engine waits idle meanwhile, which takes some 2 % of a core. Untrained
adapters do: a LoRA with a random B of a trained one's size, attached to the model as after training, and saved for PEFT.

Counted as not generating, for every cell:
  one engine   merging the weights, taking the adapter off, writing and reloading the weights, reading the canary
  new engine   loading base and adapter from disk, merging, writing the model, the engine's start and its end
The one engine's start and end are counted once, in the total. The reference code also starts Python for each step, which is not
counted; nor is the training that both have in common.

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

from lorabench import schema
from lorabench.cells.cell import Cell
from lorabench.cells.session import Session
from lorabench.generation.vllm import VLLMGenerator
from lorabench.generation.vllm_engine import Engine, environment
from lorabench.models.base import Base
from lorabench.models.shapes import linear_shapes
from lorabench.models.text import completion
from lorabench.training import seed
from lorabench.variants.base import Variant

B_SIZE = 0.01  # standard deviation of B: what some dozens of steps at the best learning rate leave
Row = dict[str, float]  # of one cell: seconds of "overhead" and "generation", generated "tokens"


def adapt(variant: Variant, base: Base, number: int, folder: Path) -> Any:
    """Attach a LoRA as training would have left it, and save it for PEFT."""
    generator = seed.generator(number, "init")
    base.remember(variant.touched(linear_shapes(base.spec)))
    model = variant.attach(base.model, generator)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.copy_(B_SIZE * torch.randn(parameter.shape, generator=generator))
    variant.save(model, folder)
    return model


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
    """Run the ways and print their table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with GSM8K's train.jsonl and test.jsonl")
    parser.add_argument("--cells", type=int, default=6)
    parser.add_argument("--problems", type=int, default=100)
    parser.add_argument("--new-tokens", type=int, default=160)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--no-lora-batch", action="store_true", help="leave out all cells in one batch of LoRA adapters")
    options = parser.parse_args()
    schema.register()
    with initialize_config_dir(str(schema.CONF), version_base="1.3"):
        overrides = ["model=smollm2-135m", "task=math", f"task.path={options.data}", "task.sets=[gsm8k]", "evaluator=vllm"]
        overrides += ["evaluator.kv_cache_gib=2"]  # two engines at a time
        overrides += [f"task.test_samples={options.problems}", f"rank={options.rank}"]
        cell = Cell.of(compose("config", overrides), Session())
    base = cell.base()
    prompts = [cell.task.evaluation_prompt(example) for example in cell.task.test_examples()]
    with tempfile.TemporaryDirectory() as scratch:
        run(cell, base, prompts, options, Path(scratch))


def run(cell: Cell, base: Base, prompts: list[str], options: argparse.Namespace, scratch: Path) -> None:
    """Measure all ways and print."""
    assert isinstance(cell.generator, VLLMGenerator)
    shared = cell.generator
    source = scratch / "base"
    base.model.save_pretrained(source)
    base.tokenizer.save_pretrained(source)
    shared.load(base)
    fresh = Fresh(base, shared, prompts, options.new_tokens)

    started = time.perf_counter()
    shared.use(None)
    shared.generate(prompts[:1], 1)
    once = time.perf_counter() - started
    rows: dict[str, list[Row]] = {"shared": [], "anew": []}
    for number in range(options.cells):
        adapter = scratch / str(number)
        row, texts = shared_cell(cell.variant, base, shared, adapt(cell.variant, base, number, adapter), prompts, options)
        rows["shared"].append(row)
        row, fresh_texts = fresh.cell(source, adapter, scratch / "merged")
        rows["anew"].append(row)
        agreeing = sum(text == fresh_text for text, fresh_text in zip(texts, fresh_texts, strict=True))
        print(f"cell {number}: {agreeing} of {len(texts)} texts are the same in both ways", flush=True)
    started = time.perf_counter()
    shared.close()
    once += time.perf_counter() - started
    report(rows, once, len(prompts))
    if not options.no_lora_batch:
        together = fresh.lora_batch(source, [scratch / str(number) for number in range(options.cells)], options.rank)
        alone = sum(row["generation"] for row in rows["shared"])
        print(f"  all cells in one batch of LoRA adapters: {together:.1f} s against {alone:.1f} s one after the other")


def shared_cell(
    variant: Variant, base: Base, shared: VLLMGenerator, model: Any, prompts: list[str], options: argparse.Namespace
) -> tuple[Row, list[str]]:
    """From the adapted model to its answers through the running engine; the base is untouched afterwards."""
    started = time.perf_counter()
    merged = variant.merged(model)
    variant.detach(model)
    base.restore()
    shared.use(merged)
    shared.ready_engine()
    ready = time.perf_counter()
    texts = shared.generate(prompts, options.new_tokens)
    done = time.perf_counter()
    shared.use(None)
    return {"overhead": ready - started, "generation": done - ready, "tokens": tokens(base, texts)}, texts


class Fresh:
    """Engines that serve one cell, or one batch, each."""

    def __init__(self, base: Base, shared: VLLMGenerator, prompts: list[str], new_tokens: int):
        self.tokenizer, self.base = base.tokenizer, base
        self.ids = base.prompt_ids(prompts)
        self.limits = [new_tokens] * len(prompts)
        self.settings = environment(base.device, shared.kv_cache_gib)
        self.arguments: dict[str, Any] = {
            "dtype": str(base.model.dtype).removeprefix("torch."),
            "max_model_len": shared.max_model_len,
            "enforce_eager": shared.eager,
            "gpu_memory_utilization": shared.gpu_memory_utilization,
            "distributed_executor_backend": "uni",
            "use_tqdm_on_load": False,
        }

    def cell(self, source: Path, adapter: Path, merged: Path) -> tuple[Row, list[str]]:
        """From the saved adapter to its answers through an engine of its own."""
        started = time.perf_counter()
        merge_to_disk(source, adapter, merged)
        engine = Engine(self.settings, model=str(merged), **self.arguments)
        ready = time.perf_counter()
        outputs = engine.generate(self.ids, self.limits, [], self.base.ends)
        done = time.perf_counter()
        engine.close()
        overhead = ready - started + time.perf_counter() - done
        texts = [completion(self.tokenizer, prompt, ids, self.base.ends) for prompt, ids in zip(self.ids, outputs, strict=True)]
        return {"overhead": overhead, "generation": done - ready, "tokens": tokens(self.base, texts)}, texts

    def lora_batch(self, source: Path, adapters: Sequence[Path], rank: int) -> float:
        """Seconds in which one engine answers for all adapters at once, its start and their loading not counted."""
        count, end = len(adapters), self.base.ends
        lora = {"enable_lora": True, "max_loras": count, "max_lora_rank": max(8, rank)}
        engine = Engine(self.settings, model=str(source), **lora, **self.arguments)
        folders = [str(folder) for folder in adapters]
        engine.generate(self.ids[:1] * count, [1] * count, [], end, folders)  # load the adapters
        started = time.perf_counter()
        engine.generate(self.ids * count, self.limits * count, [], end, [folder for folder in folders for _ in self.ids])
        together = time.perf_counter() - started
        engine.close()
        return together


def report(rows: dict[str, list[Row]], once: float, problems: int) -> None:
    """Print the table; ``once`` is the seconds of the shared engine's start and end."""

    def middle(way: str, key: str) -> float:
        return statistics.median(row[key] for row in rows[way])

    print(f"\n{len(rows['shared'])} cells, {problems} problems each; medians over the cells, range in brackets")
    for way, name in (("shared", "one engine, weights reloaded"), ("anew", "merge to disk, new engine")):
        spread = {
            key: f"[{min(r[key] for r in rows[way]):.2f}, {max(r[key] for r in rows[way]):.2f}]"
            for key in ("overhead", "generation")
        }
        speed = sum(r["tokens"] for r in rows[way]) / sum(r["generation"] for r in rows[way])
        print(
            f"  {name:<30} not generating {middle(way, 'overhead'):6.2f} s {spread['overhead']}"
            f"  generating {middle(way, 'generation'):6.1f} s {spread['generation']}  {speed:.0f} tokens/s"
        )
    total = {way: sum(row["overhead"] + row["generation"] for row in rows[way]) for way in rows}
    ratio = middle("anew", "overhead") / middle("shared", "overhead")
    print(f"  not generating, ratio: {ratio:.1f}x (the one start and end: {once:.1f} s)")
    print(
        f"  total: {total['shared']:.0f} s + {once:.0f} s once against {total['anew']:.0f} s: "
        f"{total['anew'] / (total['shared'] + once):.2f}x"
    )


if __name__ == "__main__":
    main()
