import json
import shutil

import pytest
import torch

pytest.importorskip("lm_eval", reason="lm-eval is not installed (`make install-eval`)")

from lm_eval import simple_evaluate
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM

from lorabench.cells.session import current
from lorabench.errors import UserError
from lorabench.generation.harness import Served
from lorabench.generation.hf import HFGenerator
from lorabench.generation.lm_eval import LMEvalGenerator
from lorabench.models.load import load
from lorabench.schema import PACKAGE, ModelConfig
from lorabench.tasks.arithmetic import Arithmetic

TINY = ModelConfig(name="tiny", package="lorabench", file="tiny/checkpoint", dtype="float32")

CHOICE = """
task: own_choice
dataset_path: json
dataset_kwargs: {data_files: {test: "FILE"}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{question}}"
doc_to_target: right
doc_to_choice: "{{choices}}"
metric_list: [{metric: acc}, {metric: acc_norm}, {metric: brier_score}]
metadata: {version: 3}
"""
OPEN = """
task: own_open
dataset_path: json
dataset_kwargs: {data_files: {test: "FILE"}}
test_split: test
output_type: generate_until
doc_to_text: "{{prompt}}"
doc_to_target: "{{target}}"
generation_kwargs: {until: ["."], max_gen_toks: 24}
metric_list: [{metric: exact_match}]
metadata: {version: 1}
"""


@pytest.fixture(scope="module")
def own():
    """Prompts and what the embedded model itself answers to each."""
    task = Arithmetic(name="arithmetic", max_new_tokens=40, validation_samples=20, test_samples=20)
    prompts = [task.prompt(example) for example in task.test_examples()]
    generator = HFGenerator(name="hf", batch_tokens=2000)
    generator.load(current().base(TINY, torch.device("cpu")))
    return list(zip(prompts, generator.generate(prompts, 24, ["."]), strict=True))


@pytest.fixture(scope="module")
def folder(own, tmp_path_factory):
    """A folder with two lm-eval tasks: the model's own answer is right in every second problem."""
    folder = tmp_path_factory.mktemp("tasks")
    rows = []
    for i, (prompt, answer) in enumerate(own):
        choices = [f"{answer}1", " 7", answer, " The answer is 12"]
        rows.append(
            {"question": prompt, "choices": choices, "right": 2 * (i % 2), "prompt": prompt, "target": answer + "9" * (i % 2)}
        )
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for name, text in (("choice", CHOICE), ("open", OPEN)):
        (folder / f"{name}.yaml").write_text(text.replace("FILE", str(folder / "rows.jsonl")))
    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Converted data stay out of the user's cache."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")


def make(folder, **changed):
    engine = HFGenerator(name="hf", batch_tokens=2000)
    settings = {"tasks": ["own_choice", "own_open"], "include_path": str(folder), "engine": engine}
    return LMEvalGenerator(name="lm_eval", **{**settings, **changed})


@pytest.fixture
def reference(tiny):
    return HFLM(pretrained=tiny.model, tokenizer=tiny.tokenizer, batch_size=4, device="cpu")


def served(tiny, **changed):
    generator = HFGenerator(name="hf", batch_tokens=changed.pop("batch_tokens", 2000))
    generator.load(tiny)
    model = Served(generator, tiny)
    for key, value in changed.items():
        setattr(model, key, value)
    return model


def instances(kind, arguments):
    return [Instance(kind, {}, args, i) for i, args in enumerate(arguments)]


PAIRS = [
    ("Tom has 3 apples.", " He has 12"),
    ("Tom has 3 apples.", " He has 13"),
    ("Tom has 3 apples. ", "He"),
    ("", "Sum: 14+2=16"),
    ("A long text about many numbers " * 12, " 1 2 3 4 5 6 7 8 9"),
    ("x", " y"),
]


@pytest.mark.parametrize("batch_tokens", [1, 300, 100_000])
def test_loglikelihoods_are_those_of_lm_evals_own_model(tiny, reference, own, batch_tokens):
    pairs = PAIRS + own
    requests = instances("loglikelihood", pairs)
    ours, expected = served(tiny, batch_tokens=batch_tokens).loglikelihood(requests), reference.loglikelihood(requests)
    assert [value for value, _ in ours] == pytest.approx([value for value, _ in expected], abs=1e-3, rel=1e-5)
    assert [greedy for _, greedy in ours] == [greedy for _, greedy in expected]
    assert ours[0][1] is False
    assert sum(greedy for _, greedy in ours[len(PAIRS) :]) > 10


def test_loglikelihoods_by_hand(tiny):
    generator = HFGenerator(name="hf", batch_tokens=50)
    generator.load(tiny)
    context, continuation = tiny.tokenizer("Tom has 3")["input_ids"], tiny.tokenizer(" apples and")["input_ids"]
    with torch.no_grad():
        logits = tiny.model(torch.tensor([context + continuation])).logits[0]
    expected = sum(logits[len(context) + i - 1].log_softmax(-1)[token].item() for i, token in enumerate(continuation))
    best = int(logits[len(context) - 1].argmax())
    scores = generator.loglikelihoods([(context, continuation), (context, [best]), (context, [])])
    assert scores[0] == (pytest.approx(expected, abs=1e-4), False)
    assert scores[1][1] is True
    assert scores[2] == (0.0, True)


def test_texts_longer_than_the_model_go_through_windows(tiny, reference):
    reference._max_length = 32
    ours = served(tiny, max_length=32)
    numbers = " ".join(str(n) for n in range(1, 150))
    texts = instances("loglikelihood_rolling", [(numbers[:n],) for n in (9, 90, 400)])
    assert ours.loglikelihood_rolling(texts) == pytest.approx(reference.loglikelihood_rolling(texts), abs=1e-3)
    pairs = instances("loglikelihood", [("Tom has 3 apples. " * 9, " He has 12")])
    assert ours.loglikelihood(pairs)[0][0] == pytest.approx(reference.loglikelihood(pairs)[0][0], abs=1e-4)
    with pytest.raises(UserError, match="more than the 32 that fit; leave that task out"):
        ours.loglikelihood(instances("loglikelihood", [("a", " 1" * 99)]))
    prompts = instances("generate_until", [("Tom has 3 apples. " * 9, {"until": ["\n"], "max_gen_toks": 8})])
    assert ours.generate_until(prompts) == reference.generate_until(prompts)
    with pytest.raises(UserError, match="asks for 32 new tokens"):
        ours.generate_until(instances("generate_until", [("a", {"until": [], "max_gen_toks": 32})]))


def test_generation_settings_are_followed(tiny, arithmetic):
    prompt = arithmetic.prompt(arithmetic.test_examples()[0])
    model = served(tiny)
    whole = model.generator.generate([prompt], 30)[0]
    arguments = [(prompt, {"until": "is", "max_gen_toks": 30}), (prompt, {"until": [], "max_new_tokens": 3}), (prompt, {})]
    cut, short, free = model.generate_until(instances("generate_until", arguments))
    assert cut == whole.split("is")[0] != whole
    assert short == model.generator.generate([prompt], 3)[0] != whole
    assert free.startswith(whole)


def test_results_equal_those_of_lm_evals_own_model(tiny, reference, folder):
    generator = make(folder)
    generator.prepare()
    generator.load(tiny)
    results = generator.extra_results()
    expected = simple_evaluate(reference, tasks=generator.tasks, task_manager=generator._manager)
    for task, metrics in (("own_choice", ("acc", "acc_norm")), ("own_open", ("exact_match",))):
        ours = results["lm_eval"][task]
        for metric in metrics:
            assert ours[metric] == expected["results"][task][f"{metric},none"]
            assert ours[f"{metric}_stderr"] == expected["results"][task][f"{metric}_stderr,none"]
        assert (ours["n"], ours["version"]) == (20, expected["versions"][task])
    assert results["lm_eval"]["own_open"]["exact_match"] == 0.5
    assert 0.3 < results["lm_eval"]["own_choice"]["acc"] < 0.7
    assert results["lm_eval"]["own_choice"]["version"] == 3
    assert results["lm_eval"]["own_choice"]["lower_is_better"] == ["brier_score"]
    assert "lower_is_better" not in results["lm_eval"]["own_open"]
    assert results["lm_eval_version"].startswith("0.")
    assert results["lm_eval_max_length"] == 1024
    json.dumps(results)


def test_limit_and_weights_count(tiny, folder):
    generator = make(folder, tasks=["own_open"], limit=5)
    generator.load(tiny)
    before = generator.extra_results()["lm_eval"]["own_open"]
    assert before["n"] == 5
    name = "model.layers.0.mlp.down_proj.weight"
    generator.use({name: torch.randn(tiny.model.get_parameter(name).shape, generator=torch.Generator().manual_seed(0))})
    assert generator.extra_results()["lm_eval"]["own_open"]["exact_match"] < before["exact_match"]
    generator.use(None)
    assert generator.extra_results()["lm_eval"]["own_open"] == before


def test_seeds_of_the_process_stay(tiny, folder):
    generator = make(folder, tasks=["own_choice"], limit=2)
    generator.load(tiny)
    torch.manual_seed(5)
    state = torch.get_rng_state()
    generator.extra_results()
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"tasks": ["own_chioce"]}, "lm-eval has no task own_chioce; did you mean own_choice"),
        ({"tasks": ["zzzzqqqq"]}, "no task zzzzqqqq; `lm-eval ls tasks` lists them"),
        ({"tasks": []}, "must be a list of lm-eval tasks"),
        ({"tasks": "own_choice"}, "evaluator.tasks=own_choice must be a list"),
        ({"limit": 0}, "limit=0 must be"),
        ({"limit": 1.5}, "limit=1.5 must be"),
        ({"num_fewshot": -1}, "num_fewshot=-1 must not be negative"),
        ({"include_path": "/nowhere"}, "include_path=/nowhere is no folder"),
    ],
)
def test_settings_are_checked_when_the_generator_is_built(folder, changed, message):
    with pytest.raises(UserError, match=message) as caught:
        make(folder, **changed)
    assert "\n" not in str(caught.value)


def test_what_cannot_run_is_named_before_training(folder, tmp_path):
    rows = folder / "rows.jsonl"
    folder = tmp_path
    (folder / "choice.yaml").write_text(CHOICE.replace("FILE", str(rows)))
    (folder / "gone.yaml").write_text(CHOICE.replace("own_choice", "own_gone").replace("FILE", str(folder / "none.jsonl")))
    (folder / "hub.yaml").write_text(
        "task: own_hub\ndataset_path: nobody/nothing-here\ntest_split: test\noutput_type: multiple_choice\n"
    )
    text = OPEN.replace("FILE", str(rows))
    (folder / "warm.yaml").write_text(
        text.replace("own_open", "own_warm").replace("max_gen_toks: 24", "do_sample: true, temperature: 0.7")
    )
    (folder / "code.yaml").write_text(text.replace("own_open", "own_code") + "unsafe_code: true\n")
    for task, message in (
        ("own_gone", r"cannot load own_gone of lm-eval \(FileNotFoundError.*go online once"),
        ("own_hub", r"cannot load own_hub of lm-eval \(.*go online once"),
        ("own_warm", "own_warm samples its answers"),
        ("own_code", "own_code runs generated code"),
    ):
        generator = make(folder, tasks=["own_choice", task])
        with pytest.raises(UserError, match=message) as caught:
            generator.prepare()
        assert "\n" not in str(caught.value)


def test_the_yaml_nests_a_generator(cell, folder):
    built = cell(
        "evaluator=lm_eval",
        "evaluator.tasks=[own_choice]",
        f"evaluator.include_path={folder}",
        "evaluator.engine.batch_tokens=99",
    )
    assert built.config["evaluator"]["name"] == "lm_eval"
    assert isinstance(built.generator, LMEvalGenerator)
    assert built.generator.engine == HFGenerator(name="hf", batch_tokens=99)
    assert built.generator.engine.key == "evaluator.engine"  # in its error messages
    cell("evaluator=lm_eval", "evaluator@evaluator.engine=hf")


def test_a_tokenizer_that_closes_each_text_closes_no_context(tmp_path):
    """Its end token stood between context and answer, and was taken for a part of the answer."""
    folder = shutil.copytree(PACKAGE / "tiny" / "checkpoint", tmp_path / "closing")
    content = json.loads((folder / "tokenizer.json").read_text())
    end = {"SpecialToken": {"id": "<|end|>", "type_id": 0}}
    content["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [{"Sequence": {"id": "A", "type_id": 0}}, end],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, end, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"<|end|>": {"id": "<|end|>", "ids": [1], "tokens": ["<|end|>"]}},
    }
    (folder / "tokenizer.json").write_text(json.dumps(content))
    bases = [
        current().base(TINY, torch.device("cpu")),
        load(ModelConfig(name="c", path=str(folder)), torch.device("cpu"), torch.float32),
    ]
    generator = HFGenerator(name="hf", batch_tokens=2000)
    generator.load(bases[0])
    plain, closing = (Served(generator, base)._encode_pair("Q: 1+1\nA:", " 2 and") for base in bases)
    assert closing == plain
    assert bases[1].tokenizer("Q:")["input_ids"][-1] == 1
