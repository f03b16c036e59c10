"""The owner of an engine, with a stand-in for vLLM."""

import copy
import dataclasses
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tokenizers import decoders
from transformers import GenerationConfig

from lorabench.errors import PromptTooLong, UserError
from lorabench.generation.canary import CanaryError
from lorabench.generation.vllm import VLLMGenerator
from lorabench.generation.vllm_engine import Engine

FIELDS = {"name": "vllm", "max_model_len": 512, "kv_cache_gib": 1, "gpu_memory_utilization": 0.7, "enforce_eager": True}
ROOT = Path(__file__).resolve().parents[3]
DIE = "os.kill(os.getpid(), signal.SIGKILL)"
NO_MEMORY = "raise RuntimeError('CUDA out of memory')"


@pytest.fixture
def make(stand_in, tiny, monkeypatch):
    """Generators on the embedded model, closed afterwards; ``gpu`` only says that it lies on one, which is free."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (2**36, 2**36))
    made = []

    def make(gpu=False, **changed):
        generator = VLLMGenerator(**FIELDS | changed)
        generator.load(dataclasses.replace(tiny, device=torch.device("cuda", 0)) if gpu else tiny)
        made.append(generator)
        return generator

    yield make
    for generator in made:
        generator.close()


@pytest.fixture
def emptied(monkeypatch):
    """The calls that give back cached GPU memory."""
    calls = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: calls.append(1))
    return calls


@pytest.fixture
def cells(tiny):
    """Weights of two cells."""
    name = "model.layers.0.mlp.down_proj.weight"
    return [{name: tiny.model.get_parameter(name).detach() * factor} for factor in (1.5, 2.0)]


PARENT = """
import os, signal, sys, torch
sys.path.insert(0, os.environ["STAND_IN"])
from lorabench.generation.vllm import VLLMGenerator
from lorabench.models.load import load
from lorabench.schema import ModelConfig
if __name__ == "__main__":
    spec = ModelConfig(name="tiny", package="lorabench", file="tiny/checkpoint", dtype="float32")
    generator = VLLMGenerator(**{FIELDS})
    generator.load(load(spec, torch.device("cpu"), torch.float32))
    generator.generate(["Q:"], 4)
    for i in range(5000):  # to remove them takes longer than to end a process
        (generator._folder / str(i)).touch()
    print(generator._engine.pid, generator._folder, flush=True)
    os.kill(os.getpid(), signal.{SIGNAL})
"""


@pytest.mark.parametrize("end", ["SIGKILL", "SIGTERM"])
def test_a_killed_parent_leaves_neither_process_nor_files(stand_in, alive, wait_until, end):
    script = stand_in / "parent.py"
    script.write_text(PARENT.replace("{FIELDS}", repr(FIELDS)).replace("{SIGNAL}", end))
    done = subprocess.run(
        [sys.executable, script], stdout=subprocess.PIPE, text=True, timeout=300, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    assert done.returncode == -signal.Signals[end]
    pid, folder = done.stdout.split()
    assert wait_until(lambda: not alive(pid) and not Path(folder).exists())


@pytest.mark.parametrize("gpu", [False, True])
def test_weights_that_the_engine_has_read_leave_memory(make, cells, emptied, gpu):
    generator = make(gpu)
    generator.generate(["Q:"], 4)
    assert generator._folder.exists()
    for weights in (*cells, None):
        generator.use(weights)
        generator.generate(["Q:"], 4)
        assert not (generator._folder / "model.safetensors").exists()
    assert len(emptied) == (4 if gpu else 0)  # once before the start, once before each time that it wakes


def test_the_canary_notices_that_a_second_cells_weights_did_not_arrive(make, cells, monkeypatch):
    generator = make()
    generator.use(cells[0])
    generator.generate(["Q:"], 4)
    monkeypatch.setattr(generator._engine, "reload", lambda folder: None)
    generator.use(cells[1])
    with pytest.raises(CanaryError, match="still serves the weights of the cell before"):
        generator.generate(["Q:"], 4)
    monkeypatch.undo()
    generator.generate(["Q:"], 4)


@pytest.mark.parametrize(
    ("place", "fault", "gpu"), [("generate", DIE, False), ("reload", DIE, True), ("generate", NO_MEMORY, True)]
)
def test_an_engine_that_fails_twice_names_the_knob_in_one_line(make, cells, stand_in, emptied, capsys, place, fault, gpu):
    generator = make(gpu)
    generator.key = "evaluator.engine"
    generator.use(cells[0])
    (stand_in / place).write_text(fault)
    knob = "gpu_memory_utilization" if gpu else "kv_cache_gib"
    words = rf"failed again after a new start \(.*\); .* lower evaluator\.engine\.{knob} or evaluator\.engine\.max_model_len"
    with pytest.raises(UserError, match=words) as raised:
        generator.generate(["Q:"], 4)
    assert "\n" not in str(raised.value)
    assert capsys.readouterr().err.count("starting it anew") == 1
    (stand_in / place).unlink()
    assert len(generator.generate(["Q:"], 4)) == 1


def test_a_gpu_that_has_no_room_to_wake_is_one_line(make, cells, stand_in, emptied):
    generator = make(gpu=True)
    generator.generate(["Q:"], 4)
    generator.use(cells[0])
    for place in ("wake", "start"):
        (stand_in / place).write_text(NO_MEMORY)
    with pytest.raises(
        UserError, match=r"did not start \(RuntimeError: CUDA out of memory\).*lower evaluator\.gpu_memory_util"
    ):
        generator.generate(["Q:"], 4)


@pytest.mark.parametrize("dead", [False, True])
def test_an_engine_that_cannot_be_put_to_sleep_costs_nothing_but_a_start(make, cells, stand_in, emptied, alive, dead):
    generator = make(gpu=True)
    generator.use(cells[0])
    before = generator.generate(["Q:"], 4)
    pid = generator._engine.pid
    if dead:
        os.kill(pid, signal.SIGKILL)
    else:
        (stand_in / "sleep").write_text(NO_MEMORY)
    generator.use(None)
    assert not alive(pid)
    generator.use(cells[0])
    assert generator.generate(["Q:"], 4) == before


def test_a_closed_generator_holds_no_model(make, cells):
    generator = make()
    generator.use(cells[0])
    generator.generate(["Q:"], 4)
    folder = generator._folder
    generator.close()
    assert generator._base is generator._weights is generator._engine is None
    assert not folder.exists()


def test_longer_pairs_than_the_engine_takes_are_refused(make):
    generator = make(max_model_len=16)
    assert generator.max_length == 14
    assert len(generator.loglikelihoods([([1] * 8, [2] * 7)])) == 1
    with pytest.raises(ValueError, match="16 tokens are more than"):
        generator.loglikelihoods([([1] * 8, [2] * 8)])


def test_the_models_own_limit_holds_whatever_the_setting(make, tiny, monkeypatch, capsys):
    monkeypatch.setattr(tiny.model.config, "max_position_embeddings", 20)
    generator = make(max_model_len=4096)
    seen = []
    monkeypatch.setattr(Engine, "generate", lambda self, prompts, limits, *_, **__: seen.append(limits) or [[5]] * 2)
    prompts = ["Q:", "1 2 3 4 5 6 7 8"]
    lengths = [len(ids) for ids in tiny.tokenizer(prompts)["input_ids"]]
    for _ in range(2):
        generator.generate(prompts, 15)
    assert seen == [[min(15, 20 - length) for length in lengths]] * 2
    assert capsys.readouterr().err.count("the model takes 20 tokens: where a prompt leaves fewer than 15") == 1


def test_answers_are_decoded_behind_their_prompts_and_end_where_any_end_stands(make, tiny, monkeypatch):
    """A tokenizer that drops the space with which a text begins, as SentencePiece's do."""
    tokenizer = copy.deepcopy(tiny.tokenizer)
    tokenizer.backend_tokenizer.decoder = decoders.Sequence([decoders.ByteLevel(), decoders.Strip(" ", 1, 0)])
    model = copy.copy(tiny.model)
    model.generation_config = GenerationConfig(eos_token_id=[1, 9], pad_token_id=0)
    generator = make()
    generator.load(dataclasses.replace(tiny, tokenizer=tokenizer, model=model))
    answer, requests = tokenizer(" 12 = 3. Then")["input_ids"], []
    assert tokenizer.decode(answer) == "12 = 3. Then"
    monkeypatch.setattr(Engine, "generate", lambda self, *words, **__: requests.append(words) or [[*answer, 9, 5], answer])
    assert generator.generate(["Q:", "A:"], 15) == [" 12 = 3. Then"] * 2
    assert generator.generate(["Q:", "A:"], 15, ["."]) == [" 12 = 3"] * 2
    assert [words[2:] for words in requests] == [((), [1, 9]), (["."], [1, 9])]


def test_what_does_not_fit_an_engine_is_seen_without_one(stand_in):
    generator = VLLMGenerator(**FIELDS | {"max_model_len": 40})
    assert generator.answer_limits([10, 30], 10, 1024) == [10, 10]
    with pytest.raises(PromptTooLong, match=r"new tokens do not fit: 41 together; raise evaluator\.max_model_len=40") as caught:
        generator.answer_limits([10, 31], 10, 1024)
    assert caught.value.place == 1
