import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from lorabench.errors import UserError
from lorabench.tasks.scoring import judge
from lorabench.tasks.scoring.judge import Judge, rating


def make_judge(server, **changed):
    return Judge(**{"url": server.url, "model": "j", "key_env": "OPENAI_API_KEY", "max_tokens": 99, "parallel": 1, **changed})


def ratings(judge, prompts):
    return [rating(judgement["judgement"]) for judgement in judge.judgements(prompts)]


def prompts_of(*texts):
    return [[{"role": "system", "content": "s"}, {"role": "user", "content": text}] for text in texts]


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
    assert ratings(make_judge(server), prompts_of("one")) == [7]
    monkeypatch.setenv("MY_KEY", "secret")
    assert ratings(make_judge(server, key_env="MY_KEY", url=server.url + "/"), prompts_of("two")) == [7]
    (first, body), (second, _) = server.seen
    assert body == {"model": "j", "messages": prompts_of("one")[0], "temperature": 0, "max_tokens": 99}
    assert (first, second) == (None, "Bearer secret")


def test_a_judgement_without_rating_is_asked_for_once_more(server):
    server.replies = [(200, "no number"), (200, "[[3]]"), (200, "none"), (200, "none again")]
    assert ratings(make_judge(server), prompts_of("one", "two", "three")) == [3, None, 7]
    assert server.users == ["one", "one", "two", "two", "three"]


def test_half_a_character_of_a_judge_can_be_kept(server):
    server.replies = [(200, {"model": ["j"], "choices": [{"message": {"content": "\ud83d\ude00 \ud800 [[3]]"}}]})]
    [judgement] = make_judge(server).judgements(prompts_of("one"))
    assert (judgement["judgement"], judgement["served_model"]) == ("\U0001f600 \ufffd [[3]]", None)
    assert judgement["judgement"].encode()


def test_passing_trouble_is_waited_out(server):
    server.replies = [(500, "oops"), (429, {"error": {"message": "slow down"}}), (200, b"<html>"), (200, {"choices": []})]
    assert ratings(make_judge(server), prompts_of("one")) == [7]
    assert len(server.seen) == 5


def test_a_stopped_judge_goes_on_from_the_judgements_it_has(server):
    server.replies = [(200, "[[2]]"), (200, "[[4]]"), (401, {"error": {"message": "bad key"}})]
    with pytest.raises(UserError, match=r"answers 401 \(bad key\); put a valid key into .*OPENAI_API_KEY, which is not set"):
        ratings(make_judge(server), prompts_of("a", "b", "c", "d"))
    assert ratings(make_judge(server), prompts_of("a", "b", "c", "d")) == [2, 4, 7, 7]
    assert server.users == ["a", "b", "c", "c", "d"]
    for changed in ({"model": "other"}, {"url": server.url.replace("127.0.0.1", "localhost")}):  # another judge judges anew
        assert ratings(make_judge(server, **changed), prompts_of("a")) == [7]


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        ((404, {"error": {"message": "no\nmodel j"}}), r"answers 404 \(no model j\); .* serves task\.judge_model=j"),
        ((400, {"message": "too long"}), r"answers 400 \(too long\)"),
        ((503, b"busy"), r"answers 503 \(busy\); start or mend it"),
        ((200, {"object": "list"}), "gives no chat completion in its answer"),
        ((200, {"choices": [{"message": {"content": [{"text": "[[7]]"}]}}]}), "gives no chat completion in its answer"),
    ],
)
def test_what_stops_the_judge_is_one_line_that_says_how_to_go_on(server, reply, message):
    server.replies = [reply] * judge.ATTEMPTS
    with pytest.raises(UserError, match=message) as caught:
        ratings(make_judge(server), prompts_of("one"))
    assert "\n" not in str(caught.value)
    assert "are kept" in str(caught.value)
    assert "rescore" not in str(caught.value)  # only a cell can be scored alone, and the judge knows of none
    server.replies.clear()
    assert ratings(make_judge(server), prompts_of("one")) == [7]


def test_nobody_at_the_address(server):
    closed = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    closed.server_close()
    lost = make_judge(server, url=f"http://127.0.0.1:{closed.server_port}/v1", parallel=3)
    with pytest.raises(UserError, match=r"cannot be reached \(.*refused.*\); start or mend it"):
        ratings(lost, prompts_of(*"abcdef"))


def test_the_key_stays_out_of_errors_and_cache(server, monkeypatch, tmp_path):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    server.replies = [(200, "[[2]]"), (401, {"error": {"message": "wrong key sk-very-secret"}})]
    with pytest.raises(UserError) as caught:
        ratings(make_judge(server), prompts_of("a", "b"))
    kept = [file.read_text() for file in (tmp_path / "cache").rglob("*.json")]
    assert len(kept) == 1 and json.loads(kept[0])["served_model"] == "judge-2024"
    assert not any("sk-very-secret" in text for text in [str(caught.value), *kept])
