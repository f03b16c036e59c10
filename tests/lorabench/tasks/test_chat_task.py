import json
import re

import pytest

from lorabench.cells.answers import answer
from lorabench.cells.scores import score
from lorabench.errors import UserError
from lorabench.tasks.base import summarize
from lorabench.tasks.chat import FIELDS, Chat

QUESTIONS = [
    {"question_id": 1, "category": "writing", "turns": ["Write {a} line.", "Now shorter."]},
    {"question_id": 2, "category": "math", "turns": ["What is 2+2?", "And doubled?"]},
]
REFERENCES = [{"question_id": 2, "choices": [{"turns": ["It is 4.", "It is 8."]}]}]


def write(folder, name, rows):
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def make_chat(tmp_path, server):
    def make(**changed):
        prompts = [
            {
                "name": name,
                "system_prompt": f"sys {name}",
                "prompt_template": name + "|" + "|".join(f"{{{f}}}" for f in sorted(fields)),
            }
            for name, fields in FIELDS.values()
        ]
        rows = [{"conversations": [{"from": "human", "value": f"Q{i}"}, {"from": "gpt", "value": f"A{i}"}]} for i in range(9)]
        rows.append({"conversations": [{"from": "gpt", "value": "alone"}]})
        for name, content in (("train", rows), ("question", QUESTIONS), ("judge_prompts", prompts), ("gpt-4", REFERENCES)):
            if not (tmp_path / f"{name}.jsonl").exists():
                write(tmp_path, f"{name}.jsonl", content)
        settings = {
            "name": "chat",
            "max_new_tokens": 64,
            "validation_samples": 2,
            "path": str(tmp_path),
            "test": {"mt_bench": {"files": ["question"]}},
            "references": {"files": ["gpt-4"]},
            "judge_prompts": {"files": ["judge_prompts"]},
            "judge_url": server.url,
            "judge_model": "j",
            "judge_key_env": "OPENAI_API_KEY",
            "judge_max_tokens": 99,
            "judge_parallel": 2,
        }
        return Chat(**{**settings, **changed})

    return make


class Echo:
    """A generator whose completions name the batch and the prompt's last line but one."""

    def __init__(self):
        self.batches = []

    def generate(self, prompts, max_new_tokens, stop=()):
        self.batches.append(list(prompts))
        return [f" answer {len(self.batches)}.{i} {{x}}\n" for i in range(len(prompts))]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"judge_url": "localhost:8000"}, "judge_url=localhost:8000 is no base URL"),
        ({"judge_url": "https://me:pw@host/v1"}, "holds more than an address"),
        ({"judge_model": " "}, "judge_model is empty"),
        ({"judge_key_env": "sk-123"}, "must be the name of an environment variable"),
        ({"judge_parallel": 0}, "judge_parallel=0 must be at least 1"),
        ({"judge_max_tokens": 0}, "judge_max_tokens=0 must be at least 1"),
    ],
)
def test_settings_are_checked_when_the_task_is_built(make_chat, changed, message):
    with pytest.raises(UserError, match=message) as caught:
        make_chat(**changed)
    assert "sk-123" not in str(caught.value) and "pw" not in str(caught.value)


def test_both_turns_are_generated_judged_and_summed_up(make_chat, server):
    task, echo = make_chat(), Echo()
    rows = answer(task, echo)
    assert [row["id"] for row in rows] == ["1/1", "1/2", "2/1", "2/2"]
    firsts, seconds = echo.batches
    assert firsts == [task.prompt(e) for e in task.test_examples()[::2]]
    assert seconds[1] == firsts[1] + " answer 1.1 {x}\n\n### Instruction:\nAnd doubled?\n\n### Response:"
    server.replies = [(200, "[[8]]"), (200, "[[4]]"), (200, "never"), (200, "never")]
    task = make_chat(judge_parallel=1)
    metrics = score(task, rows, {"validation_loss": 0.5})
    assert server.users == [
        "single-v1|answer 1.0 {x}|Write {a} line.",
        "single-v1-multi-turn|answer 1.0 {x}|answer 2.0 {x}|Write {a} line.|Now shorter.",
        *["single-math-v1|answer 1.1 {x}|What is 2+2?|It is 4."] * 2,
        "single-math-v1-multi-turn|answer 1.1 {x}|answer 2.1 {x}|What is 2+2?|And doubled?|It is 4.|It is 8.",
    ]
    assert [body["messages"][0]["content"] for _, body in server.seen[:2]] == ["sys single-v1", "sys single-v1-multi-turn"]
    assert [row["score"] for row in rows] == [0.8, 0.4, 0.0, 0.7]
    summary = metrics["test"]["sets"]["mt_bench"]
    assert summary["score"] == metrics["test"]["mean"] == pytest.approx((0.8 + 0.4 + 0.7) / 3)
    assert (summary["n"], summary["unrated"], summary["turn_1"]) == (3, 1, 0.8)
    assert summary["turn_2"] == pytest.approx(0.55)
    # The turns of a question are one group: deviations of 0.8 and 0.4, and of 0.7, from the mean.
    mean = 1.9 / 3
    squares = (1.2 - 2 * mean) ** 2 + (0.7 - mean) ** 2
    assert (summary["groups"], summary["stderr"]) == (2, pytest.approx((2 * squares) ** 0.5 / 3))
    assert [row["group"] for row in rows] == ["1", "1", "2", "2"]
    assert [row["judgement"] for row in rows] == ["[[8]]", "[[4]]", "never", "Fine. Rating: [[7]]"]
    assert {row["served_model"] for row in rows} == {"judge-2024"}
    kept = [dict(row) for row in rows]
    assert score(make_chat(), rows, {"validation_loss": 0.5}) == metrics  # from the judgements on disk
    assert rows == kept
    assert len(server.seen) == 5


def test_a_second_turn_is_scored_with_its_first(make_chat):
    task = make_chat()
    first, second, *_ = task.test_examples()
    assert task.score(first, "an answer") == 0.7
    with pytest.raises(ValueError, match="turn 1/2 is judged together with its first turn"):
        task.score(second, "an answer")


def test_a_diverged_run_has_a_summary(make_chat):
    task = make_chat()
    assert summarize(task, task.test_examples(), [{"score": 0.0}] * 4)["mean"] == 0


def test_a_judge_that_rates_nothing_is_refused(make_chat, server):
    server.replies = [(200, "I am a poem")] * 8
    with pytest.raises(UserError, match="judge_model=j gives no rating"):
        make_chat().score_all(make_chat().test_examples(), list("abcd"))


def test_training_takes_first_exchanges(make_chat):
    task = make_chat()
    assert len(task.train_examples()) == 7 and len(task.validation_examples()) == 2
    example = task.train_examples()[0]
    assert task.prompt(example).endswith(f"### Instruction:\n{example.question}\n\n### Response:")
    assert task.target(example) == example.question.replace("Q", "A") + "\n"


def test_the_fingerprint_follows_the_judge_prompts_and_references(make_chat, tmp_path):
    prints = {make_chat().fingerprint()}
    for name in ("judge_prompts", "gpt-4", "question"):
        file = tmp_path / f"{name}.jsonl"
        file.write_text(file.read_text().replace("}\n", ', "more": 1}\n'))
        prints.add(make_chat().fingerprint())
    assert len(prints) == 4


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("judge_prompts", "{ref_answer_1}", "{ref}", "wanted a prompt single-math-v1 with the fields"),
        ("judge_prompts", "single-v1-multi-turn", "other", "wanted a prompt single-v1-multi-turn with"),
        ("gpt-4", '"question_id": 2', '"question_id": 3', r"line 2\) \(question 2, math\) has no two answers"),
        ("gpt-4", "choices", "choice", r"gpt-4.jsonl, line 1: wanted question_id and choices"),
        (
            "question",
            '"category"',
            '"kind"',
            r"row mt_bench/0 \(.*, line 1\) has the columns kind, question_id, turns; wanted question_id, category, turns",
        ),
        (
            "question",
            '["Write {a} line.", "Now shorter."]',
            "null",
            r"row mt_bench/0 \(.*question.jsonl, line 1\) has turns=null; wanted a list of two texts",
        ),
        ("question", '"Now shorter."', "5", r"has turns=.* 5\]; wanted a list of two texts"),
        (
            "question",
            '"question_id": 1',
            '"question_id": null',
            r"mt_bench/0 \(.*, line 1\) has question_id=null; wanted a whole",
        ),
        ("question", '"question_id": 1', '"question_id": true', "has question_id=true; wanted a whole number or a text"),
        (
            "question",
            '"question_id": 1',
            '"question_id": 2',
            r"mt_bench/1 \(.*\) has the question_id 2 of .*question.jsonl, line 1; give",
        ),
        ("question", '"writing"', "7", "has category=7; wanted a text"),
        ("question", '"Now shorter."', '" "', r'has turns=.* " "\]; wanted a list of two texts'),
        ("train", '"human"', '"user"', "no conversation begins with a message from human and one from gpt"),
        ("gpt-4", '"It is 4."', "4", r"line 2\) \(question 2, math\) has no two answers"),
        ("judge_prompts", '"prompt_template"', '"template"', "wanted a prompt single-v1 with the fields"),
        ("train", "conversations", "messages", "has the columns messages; wanted conversations"),
        (
            "train",
            '"from"',
            '"role"',
            r"row train/0 conversations \(.*, line 1\) has the columns role, value; wanted from, value",
        ),
        ("train", '"Q0"', "0", r"row train/0 conversations \(.*, line 1\) has value=0; wanted a text"),
    ],
)
def test_broken_files_are_named_before_training(make_chat, tmp_path, file, old, new, message):
    make_chat()
    path = tmp_path / f"{file}.jsonl"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(UserError, match=message):
        make_chat().train_examples(), make_chat().test_examples()


def test_the_yaml_on_the_real_files(cell, shared_data, server):
    task = cell("task=chat", f"task.path={shared_data / 'mt_bench'}", f"task.train.path={shared_data / 'evol_instruct'}").task
    assert (len(task.train_examples()), len(task.validation_examples()), len(task.test_examples())) == (500, 500, 160)
    assert sum(bool(e.answer) for e in task.test_examples()) == 60
    answers = {e.id: f"<<{e.id}>>" for e in task.test_examples()}
    for example in task.test_examples():
        system, user = (message["content"] for message in task.judge_prompt(example, answers))
        assert "[[rating]]" in system + user
        assert f"<<{example.id}>>" in user and example.question in user and example.answer in user
        assert not re.search(r"\{(question|answer|ref)\w*\}", user)
    assert "${" not in task.fingerprint() + str(cell("task=chat").config["task"])
    assert "raw.githubusercontent.com" in cell("task=chat").task.fingerprint()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"references": {}, "path": None}, r"task\.references has no source; give local files with task\.path=DIR or"),
        ({"judge_prompts": {"fiels": ["a"]}}, r"unknown key 'task\.judge_prompts\.fiels'; did you mean 'files'\?"),
        ({"test": {}}, r"task\.test has no mt_bench; give its source"),
        ({"test": {"mt_bench_2": {}}}, r"task\.test\.mt_bench_2: task=chat has no such set; available: mt_bench"),
    ],
)
def test_what_it_is_judged_with_must_have_a_source(make_chat, tmp_path, changed, message):
    make_chat()
    files = {"train": {"path": str(tmp_path)}, "test": {"mt_bench": {"path": str(tmp_path / "question.jsonl")}}}
    with pytest.raises(UserError, match=message):
        make_chat(**files | {"judge_prompts": {"path": str(tmp_path)}} | changed).test_examples()
