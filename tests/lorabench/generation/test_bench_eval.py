"""The comparison of engines counts what it says, with the ways in turns; no vLLM is needed here."""

import argparse
import time

import pytest

from benchmarks import bench_eval
from lorabench.generation.vllm import VLLMGenerator

PAUSE = 0.2  # seconds that a step of interest takes


class Shared(VLLMGenerator):
    """Stands in for the running engine."""

    def __init__(self, events):
        self.events, self.kv_cache_gib, self.max_model_len, self.gpu_memory_utilization = events, 1, 512, 0.7
        self.enforce_eager = True

    def load(self, base):
        pass

    def use(self, merged):
        self.events.append("base" if merged is None else "cell")

    def ready_engine(self):
        self.events.append("ready")

    def generate(self, prompts, max_new_tokens, stop=()):
        return [" 1"] * len(prompts)

    def close(self):
        self.events.append("closed")


@pytest.fixture
def measured(monkeypatch, tiny, lora, tmp_path, capsys):
    """Run the benchmark on the embedded model; returns what happened in order, what was counted, and what was printed."""

    def measure(*flags):
        events, counted = [], {}

        class New:
            def __init__(self, settings, **arguments):
                self.lora = "enable_lora" in arguments
                events.append("lora batch" if self.lora else "new engine")

            def generate(self, ids, limits, stop, ends, adapters=None):
                return [tiny.tokenizer(" 1")["input_ids"]] * len(ids)

            def close(self):
                time.sleep(PAUSE)
                events.append("ended")

        def merged(model):
            time.sleep(PAUSE)
            return type(lora).merged(lora, model)

        class Cell:
            generator, variant = Shared(events), lora

        monkeypatch.setattr(bench_eval, "Engine", New)
        monkeypatch.setattr(bench_eval, "merge_to_disk", lambda *_: None)
        monkeypatch.setattr(lora, "merged", merged)
        show = bench_eval.report
        monkeypatch.setattr(bench_eval, "report", lambda rows, *more: counted.update(rows) or show(rows, *more))
        options = argparse.Namespace(cells=3, new_tokens=4, rank=4, no_lora_batch="--no-lora-batch" in flags)
        bench_eval.run(Cell, tiny, ["Q:", "R:"], options, tmp_path)
        return events, counted, capsys.readouterr().out

    return measure


def test_the_ways_take_turns_and_both_count_their_merge_and_end(measured):
    events, counted, text = measured()
    turn = ["cell", "ready", "base", "new engine", "ended"]
    assert events == ["base", *turn * 3, "closed", "lora batch", "ended"]
    for row in (*counted["shared"], *counted["anew"]):
        assert row["overhead"] >= PAUSE
        assert row["generation"] < PAUSE
    assert "2 of 2 texts are the same" in text
    assert "one batch of LoRA adapters" in text


def test_the_batch_of_adapters_can_be_left_out(measured):
    events, _, text = measured("--no-lora-batch")
    assert "lora batch" not in events
    assert "adapters" not in text
