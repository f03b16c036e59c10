import json
import os
import random
import subprocess
import sys

import pytest
import yaml

from lorabench.errors import UserError
from lorabench.schema import CONF
from lorabench.tasks import ifeval
from lorabench.tasks.instruct import Instruct


@pytest.fixture(scope="module")
def checked():
    """IFEval's checker is lm-eval's, which is optional, as are the packages that it needs."""
    for package in ("lm_eval", "langdetect", "immutabledict", "nltk", "punkt"):
        pytest.importorskip(package, reason=f"{package} is not installed (make install-eval)")


def make(path, **changed):
    """The task of the yaml, on local files."""
    node = yaml.safe_load((CONF / "task" / "instruct.yaml").read_text())
    del node["_target_"]
    return Instruct(**{**node, "path": None if path is None else str(path), **changed})


def write(folder, test, train=()):
    (folder / "train.json").write_text(json.dumps(list(train)))
    (folder / "ifeval.jsonl").write_text("".join(json.dumps(row) + "\n" for row in test))
    return make(folder, validation_samples=2)


def row(*instructions, prompt="Write."):
    return {
        "key": 1,
        "prompt": prompt,
        "instruction_id_list": [name for name, _ in instructions],
        "kwargs": [kwargs for _, kwargs in instructions],
    }


# Each verdict is worked out by hand from the instruction: (strict, loose).
BY_HAND = [
    ("punctuation:no_comma", {}, "No such mark here.", True, True),
    ("punctuation:no_comma", {}, "Here, there is one.", False, False),
    ("punctuation:no_comma", {}, "Sure, here it is:\nA line without one.", False, True),  # the first line may be left out
    ("length_constraints:number_words", {"relation": "at least", "num_words": 5}, "one two three four five", True, True),
    ("length_constraints:number_words", {"relation": "at least", "num_words": 5}, "one two three four", False, False),
    ("length_constraints:number_words", {"relation": "less than", "num_words": 3}, "one two three", False, False),
    ("length_constraints:number_words", {"relation": "less than", "num_words": 3}, "Of course, dear\none two", False, True),
    # "Dr." and "3.50" end no sentence: two sentences.
    (
        "length_constraints:number_sentences",
        {"relation": "less than", "num_sentences": 3},
        "Dr. Smith paid 3.50 dollars. He left.",
        True,
        True,
    ),
    (
        "length_constraints:number_sentences",
        {"relation": "at least", "num_sentences": 3},
        "Dr. Smith paid 3.50 dollars. He left.",
        False,
        False,
    ),
    ("keywords:existence", {"keywords": ["oak", "elm"]}, "An elm and an Oak.", True, True),
    ("keywords:existence", {"keywords": ["oak", "elm"]}, "An oak only.", False, False),
    ("keywords:forbidden_words", {"forbidden_words": ["oak"]}, "The soaking elm.", True, True),  # whole words only
    ("keywords:forbidden_words", {"forbidden_words": ["oak"]}, "The oak.", False, False),
    ("keywords:frequency", {"relation": "at least", "keyword": "elm", "frequency": 2}, "elm by elm", True, True),
    ("keywords:frequency", {"relation": "less than", "keyword": "elm", "frequency": 2}, "elm by elm", False, False),
    ("keywords:letter_frequency", {"let_relation": "at least", "letter": "z", "let_frequency": 3}, "Zigzag! Z", True, True),
    ("keywords:letter_frequency", {"let_relation": "at least", "letter": "z", "let_frequency": 3}, "Zigzag", False, False),
    ("detectable_format:json_format", {}, '```json\n{"a": 1}\n```', True, True),
    ("detectable_format:json_format", {}, 'Here it is:\n{"a": 1}', False, True),
    ("detectable_format:json_format", {}, "a: 1", False, False),
    ("detectable_format:title", {}, "<<A title>>\nText.", True, True),
    ("detectable_format:title", {}, "# A title\nText.", False, False),
    ("detectable_format:number_bullet_lists", {"num_bullets": 2}, "* one\n* two", True, True),
    ("detectable_format:number_bullet_lists", {"num_bullets": 2}, "* one\n* two\n* three", False, True),  # one line left out
    ("detectable_format:number_bullet_lists", {"num_bullets": 2}, "* one", False, False),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 2}, "*one* and *two*", True, True),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 2}, "*one* and two", False, False),
    ("detectable_content:number_placeholders", {"num_placeholders": 2}, "Dear [name] of [town]", True, True),
    ("detectable_content:number_placeholders", {"num_placeholders": 2}, "Dear [name]", False, False),
    ("detectable_content:postscript", {"postscript_marker": "P.S."}, "Bye.\n\nP.S. Call me.", True, True),
    ("detectable_content:postscript", {"postscript_marker": "P.S."}, "Bye.", False, False),
    ("change_case:english_lowercase", {}, "this is a small answer to the question that was asked.", True, True),
    ("change_case:english_lowercase", {}, "This is a small answer to the question that was asked.", False, False),
    ("change_case:english_capital", {}, "THIS IS A LOUD ANSWER TO THE QUESTION THAT WAS ASKED.", True, True),
    ("startend:end_checker", {"end_phrase": "That is all."}, "So it goes. That is all.", True, True),
    ("startend:end_checker", {"end_phrase": "That is all."}, "So it goes. **That is all.**", False, True),  # asterisks
    ("startend:end_checker", {"end_phrase": "That is all."}, "That is all. Or is it?", False, False),
    ("startend:quotation", {}, '"All of it."', True, True),
    ("startend:quotation", {}, 'He said "all of it".', False, False),
    (
        "language:response_language",
        {"language": "es"},
        "El perro corre por la calle y la niña lo mira desde la ventana.",
        True,
        True,
    ),
    (
        "language:response_language",
        {"language": "es"},
        "The dog runs down the street and the girl watches it from there.",
        False,
        False,
    ),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "One.\n***\nTwo.", True, True),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "One.\n\nTwo.", False, False),
    ("combination:two_responses", {}, "One way.******Another way.", True, True),
    ("combination:two_responses", {}, "One way.******One way.", False, False),
    ("combination:repeat_prompt", {"prompt_to_repeat": "Say it."}, "Say it. It.", True, True),
    ("combination:repeat_prompt", {"prompt_to_repeat": "Say it."}, "Yes!\nSay it. It.", False, True),
    ("punctuation:no_comma", {}, "  \n", False, False),  # an empty answer follows nothing
]


@pytest.mark.parametrize(("name", "kwargs", "response", "strict", "loose"), BY_HAND)
def test_verdicts_worked_out_by_hand(checked, tmp_path, name, kwargs, response, strict, loose):
    nulls = dict.fromkeys(
        ["num_words", "relation", "keywords", "letter", "language", "num_bullets"]
    )  # as the hub's rows have them
    for filled in (kwargs, {**nulls, **kwargs}):
        task = write(tmp_path, [row((name, filled))])
        assert task.score_all(task.test_examples(), [response]) == [
            {"score": strict, "prompt_loose": loose, "instructions": 1, "followed_strict": strict, "followed_loose": loose}
        ]
        assert task.score(task.test_examples()[0], response) == strict


def test_a_verdict_on_the_language_is_not_left_to_chance(checked, tmp_path):
    task = write(tmp_path, [row(("language:response_language", {"language": "pt"}))])
    verdicts = {task.score(task.test_examples()[0], "no problema amigo") for _ in range(30)}
    assert len(verdicts) == 1  # without a seed the detector says pt about every third time


def test_the_cases_cover_both_verdicts_of_many_kinds():
    assert len({name for name, *_ in BY_HAND}) >= 20
    assert {(strict, loose) for *_, strict, loose in BY_HAND} == {(True, True), (False, True), (False, False)}


def test_a_prompt_counts_when_all_its_instructions_do_and_instructions_are_averaged_over_the_set(checked, tmp_path):
    three = row(
        ("punctuation:no_comma", {}),
        ("detectable_format:title", {}),
        ("startend:end_checker", {"end_phrase": "The end."}),
    )
    task = write(tmp_path, [three, row(("punctuation:no_comma", {})), row(("detectable_format:title", {}))])
    scores = task.score_all(task.test_examples(), ["<<T>> a, b *The end.*", "fine", "<<T>>"])
    assert scores[0] == {"score": 0.0, "prompt_loose": 0.0, "instructions": 3, "followed_strict": 1, "followed_loose": 2}
    summary = task.summary(task.test_examples(), scores)
    assert summary["score"] == summary["prompt_loose"] == pytest.approx(2 / 3)
    assert summary["instruction_strict"] == pytest.approx(3 / 5)  # not the mean of 1/3, 1 and 1
    assert summary["instruction_loose"] == pytest.approx(4 / 5)
    assert summary["n"] == 3 and set(summary) == {
        "score",
        "n",
        "groups",  # of one prompt, so one problem
        "stderr",
        "prompt_loose",
        "instruction_strict",
        "instruction_loose",
    }
    assert task.summary(task.test_examples(), [{"score": 0.0}] * 3)["score"] == 0.0  # a diverged run


def test_summary_is_that_of_lm_eval_on_the_real_prompts(checked, shared_data):
    task = make(shared_data / "ifeval", train={"path": str(shared_data / "alpaca" / "alpaca_data_cleaned.first5000.json")})
    examples = task.test_examples()
    assert len(examples) == 541 and len({example.id for example in examples}) == 541
    answers = ["Hello there, this is *one* answer.\n\n***\n\nP.S. Bye.", '"a small answer"', "<<T>>\n[x] WORDS\n* a\n* b\n* c"]
    completions = [answers[i % 3] for i in range(541)]
    scores = []
    for seed in (1, 2):
        random.seed(seed)  # the checker draws what a row does not give, and its language detector draws samples
        scores.append(task.score_all(examples, completions))
    assert scores[0] == scores[1]
    from lm_eval.tasks.ifeval.utils import agg_inst_level_acc, process_results

    rows = [json.loads(line) for line in (shared_data / "ifeval" / "input_data.jsonl").read_text().splitlines()]
    reference = [process_results(row, [completion]) for row, completion in zip(rows, completions, strict=True)]
    summary = task.summary(examples, scores[0])
    assert summary["score"] == pytest.approx(sum(verdict["prompt_level_strict_acc"] for verdict in reference) / 541)
    assert summary["prompt_loose"] == pytest.approx(sum(verdict["prompt_level_loose_acc"] for verdict in reference) / 541)
    assert summary["instruction_strict"] == pytest.approx(
        agg_inst_level_acc([verdict["inst_level_strict_acc"] for verdict in reference])
    )
    assert summary["instruction_loose"] == pytest.approx(
        agg_inst_level_acc([verdict["inst_level_loose_acc"] for verdict in reference])
    )
    assert sum(score["instructions"] for score in scores[0]) == 834
    assert 0 < summary["score"] < summary["instruction_strict"] < summary["instruction_loose"] < 1


def test_training_rows(tmp_path, shared_data):
    train = shared_data / "alpaca" / "alpaca_data_cleaned.first5000.json"
    task = make(tmp_path, train={"path": str(train)}, validation_samples=500)
    assert (len(task.train_examples()), len(task.validation_examples())) == (4500, 500)
    assert task.validation == "likelihood"
    rows = json.loads(train.read_text())
    by_id = {example.id: example for example in [*task.train_examples(), *task.validation_examples()]}
    for i, row in enumerate(rows):
        example = by_id[f"train/{i}"]
        instruction = f"{row['instruction']}\n\n{row['input']}" if row["input"] else row["instruction"]
        assert task.prompt(example).endswith(f"### Instruction:\n{instruction}\n\n### Response:")
        assert task.target(example) == row["output"] + "\n"


def test_the_yaml_pins_source_and_rows():
    task = make(None)
    assert (task.train["rows"], task.test["ifeval"]["rows"]) == (51760, 541)
    assert task.fingerprint() == (
        "train=yahma/alpaca-cleaned@12567cabf869d7c92e573c7c783905fc160e9639//train "
        "ifeval=google/IFEval@966cd89545d6b6acfd7638bc708b98261ca58e84//train"
    )
    assert task.max_new_tokens == 2048 and task.train_size() == 51260


@pytest.mark.parametrize(
    ("test", "train", "message"),
    [
        (
            [{"prompt": "a"}],
            [],
            r"row ifeval/0 \(.*, line 1\) has the columns prompt; wanted key, prompt, instruction_id_list, kwargs",
        ),
        (
            [{**row(("punctuation:no_comma", {})), "kwargs": []}],
            [],
            r"row ifeval/0 \(.*, line 1\) needs two lists of one length",
        ),
        (
            [{**row(("punctuation:no_comma", {})), "kwargs": None}],
            [],
            r"row ifeval/0 \(.*, line 1\) needs two lists of one length",
        ),
        ([row(("punctuation:no_coma", {}))], [], r"row ifeval/0 \(.*, line 1\) has the instruction punctuation:no_coma, which"),
        (
            [{**row(("punctuation:no_comma", {})), "prompt": None}],
            [],
            r"row ifeval/0 \(.*, line 1\) has prompt=null; wanted a text",
        ),
        (
            [{**row(("punctuation:no_comma", {})), "kwargs": [None]}],
            [],
            r"ifeval/0 \(.*, line 1\) has null in kwargs; wanted objects",
        ),
        (
            [{**row(("punctuation:no_comma", {})), "instruction_id_list": [["a"]]}],
            [],
            r'has \["a"\] in instruction_id_list; wanted',
        ),
        ([row()], [], "needs two lists of one length"),
        (
            [row(("length_constraints:number_words", {"relation": "at least", "num_words": "x"}))],
            [],
            "has kwargs that lm-eval's",
        ),
        ([row(("punctuation:no_comma", {"colour": 1}))], [], "has kwargs that lm-eval's checker cannot use"),
        ([row(("punctuation:no_comma", {}), prompt=" ")], [], 'has the blank text prompt=" "'),
        ([], [{"instruction": "a", "output": "b", "input": 3}], r"row train/0 \(.*, index 0\) has input=3; wanted a text"),
        ([], [{"instruction": "a"}], r"row train/0 \(.*, index 0\) has the columns instruction; wanted instruction, output"),
    ],
)
def test_broken_rows_are_named(checked, tmp_path, test, train, message):
    task = write(tmp_path, test, train)
    with pytest.raises(UserError, match=message):
        _ = task.test_examples() if test else task.train_examples()


def test_without_lm_eval_one_line_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "nltk", None)
    with pytest.raises(UserError, match=r"task=instruct needs lm-eval's IFEval checker .*`make install-eval`") as raised:
        write(tmp_path, [row(("punctuation:no_comma", {}))]).test_examples()
    assert "\n" not in str(raised.value)


OFFLINE = """
import socket
def refuse(*_, **__):
    raise SystemExit("the network was asked for")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
from lorabench.errors import UserError
from lorabench.tasks import ifeval
if MISSING:
    ifeval.importlib.util.find_spec = lambda name: None
try:
    check = ifeval.checker()
except UserError as error:
    raise SystemExit(str(error))
row = {"key": 1, "prompt": "p", "instruction_id_list": ["length_constraints:number_sentences"],
       "kwargs": [{"relation": "less than", "num_sentences": 3}]}
print(check(row, "Dr. Smith paid 3.50 dollars. He left."))
"""


def offline(tmp_path, missing):
    home = tmp_path / "home"
    home.mkdir(exist_ok=True)
    environment = {**os.environ, "HOME": str(home), "LORABENCH_CACHE": str(tmp_path / "cache")}
    environment.pop("NLTK_DATA", None)
    program = OFFLINE.replace("MISSING", str(missing))
    return subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)


def test_the_checker_needs_no_network(checked, tmp_path):
    for _ in range(2):  # makes the model, then finds it
        done = offline(tmp_path, missing=False)
        assert (done.returncode, done.stdout) == (0, "([True], [True])\n"), done.stderr
    folder = tmp_path / "cache" / "nltk_data" / "tokenizers" / "punkt_tab"
    assert [file.name for file in folder.iterdir()] == ["english"]


def test_without_the_sentence_model_one_line_says_what_to_install(checked, tmp_path):
    done = offline(tmp_path, missing=True)
    if done.returncode == 0:
        pytest.skip("NLTK's punkt_tab is installed on this machine")
    assert "needs NLTK's sentence model punkt_tab: `make install-eval`" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_the_sentence_model_is_the_packages(checked, tmp_path, monkeypatch):
    import nltk
    from nltk.data import FileSystemPathPointer
    from nltk.tokenize.punkt import load_punkt_params
    from punkt.data import english

    ifeval.write_punkt(tmp_path / "english")
    ifeval.write_punkt(tmp_path / "english")  # another process was faster
    monkeypatch.setattr(nltk.data, "path", [str(tmp_path)])
    parameters = load_punkt_params(FileSystemPathPointer(str(tmp_path / "english")))
    assert parameters.abbrev_types == set(english.ABBREV_TYPES)
    assert parameters.sent_starters == set(english.SENT_STARTERS)
    assert parameters.collocations == set(english.COLLOCATIONS)
    assert dict(parameters.ortho_context) == english.ORTHO_CONTEXT
    assert [path.name for path in tmp_path.iterdir()] == ["english"]
