"""The frozen language model of a search: what it is called by, and that a plan does not fetch it."""

import importlib.util
import subprocess
import sys

import pytest

from lorabench import encoder
from lorabench.encoder import Frozen
from lorabench.errors import UserError
from lorabench.schema import ModelConfig


@pytest.mark.parametrize("name", ["OWNER/NAME", "smollm", "OWNER/NAME@", None])
def test_another_name_is_one_line_with_those_that_there_are(name):
    with pytest.raises(UserError, match=rf"encoder {name} is none of all-minilm, .*, tiny, nor OWNER/NAME@COMMIT"):
        Frozen(name)()


@pytest.mark.parametrize("name", ["tiny", "smollm2-135m", "qwen3-0.6b", "gemma-3-1b", "llama-2-7b"])
def test_the_models_of_the_benchmark_are_causal(name, monkeypatch):
    monkeypatch.setattr(encoder, "load", lambda *_: pytest.fail("loaded"))
    assert Frozen(name).causal


@pytest.mark.parametrize(
    ("kind", "changes", "causal"),
    [
        ("bert", {}, False),
        ("bert", {"is_decoder": True}, True),
        ("modernbert", {}, False),
        ("mpnet", {}, False),
        ("bloom", {}, True),
        ("mpt", {}, True),
        ("gpt2", {}, True),
    ],
)
def test_whether_a_model_is_causal_is_in_its_config(kind, changes, causal, tmp_path, monkeypatch):
    from transformers import AutoConfig

    AutoConfig.for_model(kind, **changes).save_pretrained(tmp_path)
    monkeypatch.setattr(Frozen, "spec", lambda self: ModelConfig(name=kind, path=str(tmp_path)))
    assert Frozen(kind).causal is causal


def test_a_model_of_two_halves_is_refused(tmp_path, monkeypatch):
    from transformers import AutoConfig

    AutoConfig.for_model("t5").save_pretrained(tmp_path)
    monkeypatch.setattr(Frozen, "spec", lambda self: ModelConfig(name="t5", path=str(tmp_path)))
    with pytest.raises(UserError, match=r"^encoder t5 is an encoder and a decoder \(t5\); one of the two is needed$"):
        Frozen("t5")()


def test_a_packaged_encoder_that_is_absent_is_one_line(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    line = r"^encoder all-minilm: no Python package .* is installed; run `make install-minilm`$"
    with pytest.raises(UserError, match=line):
        Frozen("all-minilm")()


def test_a_process_reads_an_encoder_once():
    assert Frozen("tiny")()[0] is Frozen("tiny")()[0]


def test_a_plan_fetches_no_encoder(tmp_path):
    search = ["hydra/sweeper=language_bo", "hydra.sweeper.method.encoder.model=nobody/nothing@0123", "hydra.sweeper.budget=1"]
    command = [sys.executable, "-m", "lorabench", *search, f"output_dir={tmp_path}", "lr=1e-3,2e-3", "-m"]
    plan = subprocess.run([*command, "plan=true"], capture_output=True, text=True, timeout=300)
    assert plan.returncode == 0 and plan.stdout.startswith("1 cell, chosen"), plan.stderr
    run = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert run.returncode == 2
    assert run.stderr.splitlines()[-1].startswith(
        ("lorabench: encoder: model=nobody/nothing: cannot get", "lorabench: the method")
    )
