import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from lorabench.errors import UserError
from lorabench.evaluate import answer, score
from lorabench.tasks import judge
from lorabench.tasks.base import summarize
from lorabench.tasks.chat import FIELDS, Chat
from lorabench.tasks.judge import Judge, rating

QUESTIONS = [
    {"question_id": 1, "category": "writing", "turns": ["Write {a} line.", "Now shorter."]},
    {"question_id": 2, "category": "math", "turns": ["What is 2+2?", "And doubled?"]},
]
REFERENCES = [{"question_id": 2, "choices": [{"turns": ["It is 4.", "It is 8."]}]}]


class Server(ThreadingHTTPServer):
    """A judge that speaks the chat-completions protocol. ``replies`` come first, then every request is rated 7."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.replies, self.seen, self.lock = [], [], threading.Lock()
        self.url = f"http://127.0.0.1:{self.server_port}/v1"

    @property
    def users(self):
        return [body["messages"][1]["content"] for _, body in self.seen]


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        assert self.path == "/v1/chat/completions"
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.seen.append((self.headers.get("Authorization"), body))
            reply = self.server.replies.pop(0) if self.server.replies else (200, "Fine. Rating: [[7]]")
        status, content = reply
        if status == 200 and isinstance(content, str):
            content = {"model": "judge-2024", "choices": [{"message": {"role": "assistant", "content": content}}]}
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setenv("LORABENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setattr(judge, "BACKOFF", 0.001)
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def make_judge(server, **changed):
    return Judge(**{"url": server.url, "model": "j", "key_env": "OPENAI_API_KEY", "max_tokens": 99, "parallel": 1, **changed})


def ratings(judge, prompts):
    return [rating(one["judgement"]) for one in judge.judgements(prompts)]


def asked(*texts):
    return [[{"role": "system", "content": "s"}, {"role": "user", "content": text}] for text in texts]


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
            "version": 1,
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
    ("text", "value"),
    [
        ("Rating: [[5]]", 5),
        ("I say [[7.5]] and later [[2]]", 7.5),
        ("list[2] is wrong. Rating: [[9]]", 9),
        ("Rating: [6]", 6),
        ("Rating: [[10]]", 10),
        ("[[0]]", None),
        ("[[95]]", None),
        ("[[A]] 7/10", None),
        ("", None),
    ],
)
def test_rating(text, value):
    assert rating(text) == value


def test_requests_follow_the_protocol_and_the_key_comes_from_the_environment(server, monkeypatch):
    assert ratings(make_judge(server), asked("one")) == [7]
    monkeypatch.setenv("MY_KEY", "secret")
    assert ratings(make_judge(server, key_env="MY_KEY", url=server.url + "/"), asked("two")) == [7]
    (first, body), (second, _) = server.seen
    assert body == {"model": "j", "messages": asked("one")[0], "temperature": 0, "max_tokens": 99}
    assert (first, second) == (None, "Bearer secret")


def test_a_judgement_without_rating_is_asked_for_once_more(server):
    server.replies = [(200, "no number"), (200, "[[3]]"), (200, "none"), (200, "none again")]
    assert ratings(make_judge(server), asked("one", "two", "three")) == [3, None, 7]
    assert server.users == ["one", "one", "two", "two", "three"]


def test_passing_trouble_is_waited_out(server):
    server.replies = [(500, "oops"), (429, {"error": {"message": "slow down"}}), (200, b"<html>"), (200, {"choices": []})]
    assert ratings(make_judge(server), asked("one")) == [7]
    assert len(server.seen) == 5


def test_a_stopped_judge_goes_on_from_the_judgements_it_has(server):
    server.replies = [(200, "[[2]]"), (200, "[[4]]"), (401, {"error": {"message": "bad key"}})]
    with pytest.raises(UserError, match=r"answers 401 \(bad key\); put a valid key into .*OPENAI_API_KEY, which is not set"):
        ratings(make_judge(server), asked("a", "b", "c", "d"))
    assert ratings(make_judge(server), asked("a", "b", "c", "d")) == [2, 4, 7, 7]
    assert server.users == ["a", "b", "c", "c", "d"]
    for other in ({"model": "other"}, {"url": server.url.replace("127.0.0.1", "localhost")}):  # another judge judges anew
        assert ratings(make_judge(server, **other), asked("a")) == [7]


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        ((404, {"error": {"message": "no\nmodel j"}}), r"answers 404 \(no model j\); .* serves task\.judge_model=j"),
        ((400, {"message": "too long"}), r"answers 400 \(too long\)"),
        ((503, b"busy"), r"answers 503 \(busy\); start or mend it"),
        ((200, {"object": "list"}), "gives no chat completion in its answer"),
    ],
)
def test_what_stops_the_judge_is_one_line_that_says_how_to_go_on(server, reply, message):
    server.replies = [reply] * judge.ATTEMPTS
    with pytest.raises(UserError, match=message) as caught:
        ratings(make_judge(server), asked("one"))
    assert "\n" not in str(caught.value)
    assert "are kept" in str(caught.value)
    assert "rescore" not in str(caught.value)  # only a cell can be scored alone, and the judge knows of none
    server.replies.clear()
    assert ratings(make_judge(server), asked("one")) == [7]


def test_nobody_at_the_address(server):
    closed = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    closed.server_close()
    lost = make_judge(server, url=f"http://127.0.0.1:{closed.server_port}/v1", parallel=3)
    with pytest.raises(UserError, match=r"cannot be reached \(.*refused.*\); start or mend it"):
        ratings(lost, asked(*"abcdef"))


def test_the_key_stays_out_of_errors_and_cache(server, monkeypatch, tmp_path):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    server.replies = [(200, "[[2]]"), (401, {"error": {"message": "wrong key sk-very-secret"}})]
    with pytest.raises(UserError) as caught:
        ratings(make_judge(server), asked("a", "b"))
    kept = [file.read_text() for file in (tmp_path / "cache").rglob("*.json")]
    assert len(kept) == 1 and json.loads(kept[0])["served_model"] == "judge-2024"
    assert not any("sk-very-secret" in text for text in [str(caught.value), *kept])


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
    metrics = score(task, rows, 0.5)
    assert server.users == [
        "single-v1|answer 1.0 {x}|Write {a} line.",
        "single-v1-multi-turn|answer 1.0 {x}|answer 2.0 {x}|Write {a} line.|Now shorter.",
        *["single-math-v1|answer 1.1 {x}|What is 2+2?|It is 4."] * 2,
        "single-math-v1-multi-turn|answer 1.1 {x}|answer 2.1 {x}|What is 2+2?|And doubled?|It is 4.|It is 8.",
    ]
    assert [body["messages"][0]["content"] for _, body in server.seen[:2]] == ["sys single-v1", "sys single-v1-multi-turn"]
    assert [row["score"] for row in rows] == [0.8, 0.4, 0.0, 0.7]
    found = metrics["test"]["sets"]["mt_bench"]
    assert found["score"] == metrics["test"]["mean"] == pytest.approx((0.8 + 0.4 + 0.7) / 3)
    assert (found["n"], found["unrated"], found["turn_1"]) == (3, 1, 0.8)
    assert found["turn_2"] == pytest.approx(0.55)
    assert [row["judgement"] for row in rows] == ["[[8]]", "[[4]]", "never", "Fine. Rating: [[7]]"]
    assert {row["served_model"] for row in rows} == {"judge-2024"}
    kept = [dict(row) for row in rows]
    assert score(make_chat(), rows, 0.5) == metrics  # from the judgements on disk
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
        ("gpt-4", '"question_id": 2', '"question_id": 3', r"question 2 \(math\) has no two answers"),
        ("gpt-4", "choices", "choice", "wanted rows with question_id and choices"),
        ("question", '"category"', '"kind"', "needs question_id, category and two turns"),
        ("train", "conversations", "messages", "has the columns messages; wanted conversations"),
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
