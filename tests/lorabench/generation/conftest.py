"""A stand-in for vLLM, with which its process and its owner run without vLLM, without a GPU, and fast."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

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


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """Put the stand-in where Python finds it before vLLM; the folder takes what goes wrong in it."""
    (tmp_path / "vllm.py").write_text(STAND_IN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("STAND_IN", str(tmp_path))
    return tmp_path


@pytest.fixture
def alive():
    """Whether a process runs."""

    def state(pid) -> bool:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
        except OSError:
            return False

    return state


@pytest.fixture
def wait_until():
    """Wait for a fact, and say whether it came."""

    def wait(fact: Callable[[], bool], seconds: float = 60.0) -> bool:
        until = time.monotonic() + seconds
        while not fact() and time.monotonic() < until:
            time.sleep(0.05)
        return fact()

    return wait
