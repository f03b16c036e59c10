"""The engine's process and its owner, with a stand-in for vLLM: these run without vLLM, without a GPU, and fast."""

import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from lorabench.errors import UserError
from lorabench.generation import base as generation
from lorabench.generation.canary import Canary, CanaryError, Reading, sample
from lorabench.generation.vllm import VLLMGenerator
from lorabench.generation.vllm_engine import Engine, EngineDied, EngineError, environment

FIELDS = {"name": "vllm", "max_model_len": 512, "kv_cache_gib": 1, "gpu_memory_utilization": 0.7, "enforce_eager": True}
ROOT = Path(__file__).resolve().parents[2]

# Its log-probabilities follow the weights that it was given. At each place it runs the file of that name, where there is one.
STAND_IN = """
import os, signal, subprocess, time
from pathlib import Path
from types import SimpleNamespace
from safetensors.numpy import load_file

def at(place):
    file = Path(os.environ["STAND_IN"]) / place
    if file.exists():
        exec(file.read_text(), globals())

class SamplingParams:
    def __init__(self, **settings):
        self.__dict__.update(settings)

class LLM:
    def __init__(self, model, **arguments):
        at("start")
        self.read(model)

    def read(self, folder):
        if (Path(folder) / "model.safetensors").exists():
            self.value = sum(float(abs(weight).mean()) for weight in load_file(Path(folder) / "model.safetensors").values())

    def collective_rpc(self, method, kwargs):
        at("reload")
        self.read(kwargs["weights_path"])

    def reset_prefix_cache(self):
        pass

    def sleep(self, level):
        at("sleep")

    def wake_up(self, tags):
        at("wake")

    def generate(self, inputs, settings, use_tqdm, lora_request=None):
        prompts = [each["prompt_token_ids"] for each in use_tqdm(inputs, desc="Rendering prompts")]
        bar = use_tqdm(total=len(prompts), desc="Processed prompts", dynamic_ncols=True, postfix="0.00 toks/s")
        outputs = []
        for ids in prompts:
            if len(ids) < 20:  # not the canary
                at("generate")
            logs = [None, *({token: SimpleNamespace(logprob=-self.value, rank=1)} for token in ids[1:])]
            outputs.append(SimpleNamespace(outputs=[SimpleNamespace(token_ids=[5], text="x")], prompt_logprobs=logs))
            assert bar.format_dict["elapsed"] > 0
            bar.update(1)
        bar.close()
        return outputs
"""
DIE = "os.kill(os.getpid(), signal.SIGKILL)"
NO_MEMORY = "raise RuntimeError('CUDA out of memory')"


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """Put the stand-in where Python finds it before vLLM; the folder takes what goes wrong in it."""
    (tmp_path / "vllm.py").write_text(STAND_IN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("STAND_IN", str(tmp_path))
    return tmp_path


@pytest.fixture
def engine(stand_in):
    engines = []

    def make(**arguments):
        engines.append(Engine({}, model=str(stand_in), **arguments))
        return engines[-1]

    yield make
    for one in engines:
        one.close()


@pytest.fixture
def make(stand_in, tiny):
    """Generators on the embedded model, closed afterwards; ``gpu`` only says that it lies on one."""
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


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def wait_until(fact, seconds=60.0):
    until = time.monotonic() + seconds
    while not fact() and time.monotonic() < until:
        time.sleep(0.05)
    return fact()


@pytest.mark.parametrize("killed", [False, True])
def test_what_the_child_has_started_ends_with_it(stand_in, engine, killed):
    """Such as vLLM's own engine process, here one that ignores polite signals; also when the child is killed before it."""
    (stand_in / "start").write_text(
        "child = subprocess.Popen(['bash', '-c', 'trap \"\" TERM INT; echo > $STAND_IN/up; while :; do sleep 1; done'])\n"
        "Path(os.environ['STAND_IN'], 'pid').write_text(str(child.pid))"
    )
    one = engine()
    assert wait_until((stand_in / "up").exists)
    grandchild = int((stand_in / "pid").read_text())
    assert alive(grandchild)
    if killed:
        os.kill(one.pid, signal.SIGKILL)
        assert wait_until(lambda: not alive(one.pid))
    one.close()
    assert not alive(one.pid)
    assert not alive(grandchild)


def test_a_child_that_dies_is_noticed_while_another_process_holds_its_pipe(stand_in, engine):
    (stand_in / "start").write_text("if os.fork() == 0:\n    time.sleep(100)")
    (stand_in / "generate").write_text(DIE)
    started = time.monotonic()
    with pytest.raises(EngineDied, match="code -9"):
        engine().generate([[1]], [4], [], 2)
    assert time.monotonic() - started < 60


def test_progress_comes_while_prompts_are_answered(stand_in, engine):
    (stand_in / "generate").write_text("time.sleep(0.4)")
    found = []
    engine().generate([[1]] * 8, [4] * 8, [], 2, report=found.append)
    assert sum(found) == 8
    assert len(found) > 1


def test_an_interrupt_ends_the_engine_so_that_no_late_answer_is_taken_for_another(stand_in, engine):
    def interrupt(count):
        raise KeyboardInterrupt

    one = engine()
    with pytest.raises(KeyboardInterrupt):
        one.generate([[1]] * 4, [4] * 4, [], 2, report=interrupt)
    assert not alive(one.pid)
    with pytest.raises(EngineDied):
        one.generate([[1]], [4], [], 2)


def test_a_refused_start_leaves_no_process(stand_in, engine):
    (stand_in / "start").write_text(
        "Path(os.environ['STAND_IN'], 'pid').write_text(str(os.getpid()))\nraise ValueError('no room')"
    )
    with pytest.raises(EngineError, match="ValueError: no room"):
        engine()
    assert not alive(int((stand_in / "pid").read_text()))


PARENT = """
import os, signal, sys, torch
sys.path.insert(0, os.environ["STAND_IN"])
from lorabench import models
from lorabench.generation.vllm import VLLMGenerator
from lorabench.schema import ModelConfig
if __name__ == "__main__":
    spec = ModelConfig(name="tiny", package="lorabench", file="tiny/checkpoint", dtype="float32")
    generator = VLLMGenerator(**{FIELDS})
    generator.load(models.load(spec, torch.device("cpu")))
    generator.generate(["Q:"], 4)
    for i in range(5000):  # to remove them takes longer than to end a process
        (generator._folder / str(i)).touch()
    print(generator._engine.pid, generator._folder, flush=True)
    os.kill(os.getpid(), signal.{SIGNAL})
"""


@pytest.mark.parametrize("end", ["SIGKILL", "SIGTERM"])
def test_a_killed_parent_leaves_neither_process_nor_files(stand_in, end):
    script = stand_in / "parent.py"
    script.write_text(PARENT.replace("{FIELDS}", repr(FIELDS)).replace("{SIGNAL}", end))
    done = subprocess.run(
        [sys.executable, script], stdout=subprocess.PIPE, text=True, timeout=300, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    assert done.returncode == -signal.Signals[end]
    pid, folder = done.stdout.split()
    assert wait_until(lambda: not alive(pid) and not Path(folder).exists())


@pytest.mark.parametrize(
    ("device", "given", "visible"),
    [
        ("cpu", None, ""),
        ("cpu", "0,1", ""),
        ("cuda", None, "0"),
        ("cuda:1", None, "1"),
        ("cuda", "3,2", "3"),
        ("cuda:1", "3,2", "2"),
        ("cuda:1", "GPU-aa, GPU-bb", "GPU-bb"),
    ],
)
def test_the_engine_sees_the_bases_device_alone(monkeypatch, device, given, visible):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if given is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    assert environment(torch.device(device), 4)["CUDA_VISIBLE_DEVICES"] == visible


def test_what_the_user_has_set_stays(monkeypatch):
    keys = ("VLLM_LOGGING_LEVEL", "VLLM_CPU_KVCACHE_SPACE", "VLLM_ENABLE_V1_MULTIPROCESSING", "PYTHONWARNINGS")
    for key in keys:
        monkeypatch.delenv(key, raising=False)
    cpu, gpu = environment(torch.device("cpu"), 3), environment(torch.device("cuda"), 3)
    assert cpu["VLLM_CPU_KVCACHE_SPACE"] == "3"
    assert cpu["VLLM_ENABLE_V1_MULTIPROCESSING"] == "0"
    assert "VLLM_ENABLE_V1_MULTIPROCESSING" not in gpu
    for key in keys:
        monkeypatch.setenv(key, "1")
    assert not set(keys) & environment(torch.device("cpu"), 3).keys()


def test_the_parents_environment_stays(engine, monkeypatch, stand_in):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,2")
    (stand_in / "start").write_text("Path(os.environ['STAND_IN'], 'seen').write_text(os.environ['CUDA_VISIBLE_DEVICES'])")
    before = dict(os.environ)
    Engine(environment(torch.device("cuda:1"), 4), model=str(stand_in)).close()
    assert (stand_in / "seen").read_text() == "2"
    assert dict(os.environ) == before


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


def test_the_canary_allows_equal_weights_and_close_ones():
    one, close, far = ({"w": torch.full((8, 8), value)} for value in (1.0, 1.0 + 1e-4, 1.1))
    for dtype, others in ((torch.bfloat16, (one, close)), (torch.float32, (one,))):
        canary = Canary(*[Reading([-1.0], sample(one, dtype))] * 2)
        for weights in others:  # in bfloat16 both are 1
            canary.check(Reading([-1.0], sample(weights, dtype)), is_base=False)
        with pytest.raises(CanaryError, match="still serves the base's weights"):
            canary.check(Reading([-1.0], sample(far, dtype)), is_base=False)
    with pytest.raises(CanaryError, match="still serves the base's weights"):
        canary.check(Reading([-1.0], sample(close, torch.float32)), is_base=False)


def test_the_canary_samples_every_column_and_weight():
    weight = torch.arange(576 * 576, dtype=torch.float32).reshape(576, 576)
    found = sample({"a": weight, "b": torch.tensor([-1.0])}, torch.float32)
    assert 1000 < len(found) < 2000
    assert len(set((found[:-1] % 576).tolist())) > 500
    assert found[-1] == -1


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
def test_an_engine_that_cannot_be_put_to_sleep_costs_nothing_but_a_start(make, cells, stand_in, emptied, dead):
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
    assert generator._base is generator._wanted is generator._engine is None
    assert not folder.exists()


def test_longer_pairs_than_the_engine_takes_are_refused(make):
    generator = make(max_model_len=16)
    assert generator.max_length == 14
    assert len(generator.loglikelihoods([([1] * 8, [2] * 7)])) == 1
    with pytest.raises(ValueError, match="16 tokens are more than"):
        generator.loglikelihoods([([1] * 8, [2] * 8)])


def test_the_models_own_limit_holds_whatever_the_setting(make, tiny, monkeypatch, capsys):
    monkeypatch.setattr(generation, "_told", set())
    monkeypatch.setattr(tiny.model.config, "max_position_embeddings", 20)
    generator = make(max_model_len=4096)
    seen = []
    monkeypatch.setattr(Engine, "generate", lambda self, prompts, limits, *_, **__: seen.append(limits) or [([5], "x")] * 2)
    prompts = ["Q:", "1 2 3 4 5 6 7 8"]
    lengths = [len(ids) for ids in tiny.tokenizer(prompts)["input_ids"]]
    for _ in range(2):
        generator.generate(prompts, 15)
    assert seen == [[min(15, 20 - length) for length in lengths]] * 2
    assert capsys.readouterr().err.count("the model takes 20 tokens: where a prompt leaves fewer than 15") == 1
