"""A judge model behind an OpenAI-compatible endpoint, rating answers as in MT-Bench (Zheng et al. 2023, arXiv 2306.05685)."""

import hashlib
import http.client
import json
import os
import re
import threading
import urllib.error
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from lorabench.errors import UserError
from lorabench.files import cache_dir, read_json, write_json
from lorabench.terminal.bars import answers_bar

ATTEMPTS = 5  # requests for one judgement, the first included
BACKOFF = 2.0  # seconds before the second request, doubled before each further one
LONGEST_WAIT = 60.0  # seconds, also where the server asks for more
LONG_WORD = 16  # characters of a path without a break
KEYS = re.compile(r"(?:sk|pk|rk|hf|gsk|xai|ghp|glpat)[-_]|AIza", re.IGNORECASE)  # as services begin them
HEX = re.compile(r"[0-9a-fA-F]{16,}")
TIMEOUT = 600.0  # seconds for one judgement
RATINGS = (re.compile(r"\[\[(\d+(?:\.\d+)?)\]\]"), re.compile(r"\[(\d+(?:\.\d+)?)\]"))

Messages = list[dict[str, str]]
Score = dict[str, Any]


def rating(judgement: str) -> float | None:
    """The first ``[[n]]`` of a judgement, else the first ``[n]``; None without one, or outside MT-Bench's 1 … 10."""
    first = next((match for pattern in RATINGS if (match := pattern.search(judgement))), None)
    value = float(first.group(1)) if first else 0.0
    return value if 1 <= value <= 10 else None


def rated(scores: Sequence[Score]) -> list[int]:
    """Places of the scores that have a rating: the others are left out of a mean, as in MT-Bench's own tool."""
    return [place for place, score in enumerate(scores) if not score.get("unrated")]


def check_url(url: str) -> None:
    """Raise UserError unless this is a base URL that may be recorded; what may be a key is not repeated."""
    try:
        parts = urlsplit(url)
        user, host = "@" in parts.netloc, parts.hostname
    except ValueError:  # brackets that do not close
        raise UserError("task.judge_url is no base URL; give one such as http://localhost:8000/v1") from None
    if user or parts.query or parts.fragment or _holds_key(unquote(parts.path)):
        raise UserError(
            "task.judge_url holds more than an address, and would be recorded; a key belongs into the environment variable "
            "that task.judge_key_env names"
        )
    if parts.scheme not in ("http", "https") or not host:
        raise UserError(f"task.judge_url={url} is no base URL; give one such as http://localhost:8000/v1")


def _holds_key(path: str) -> bool:
    """Whether a part of a path may be a key: by how keys of services begin, as hexadecimal digits, or by its words."""
    names = path.split("/")
    if any(KEYS.match(name) or HEX.fullmatch(name.replace("-", "")) for name in names):
        return True
    return any(map(_may_be_key, re.split(r"[/.:_-]", path)))


def _may_be_key(word: str) -> bool:
    """Whether a part of a path is long and looks drawn: digits among letters, or more letters than a word has."""
    return len(word) >= LONG_WORD and (len(word) >= 2 * LONG_WORD or (not word.isalpha() and not word.isdecimal()))


class _Transient(Exception):
    """The server may answer if it is asked again."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


@dataclass
class Judge:
    """Judgements at temperature 0, each kept on disk as soon as it is there.

    Attributes:
        url: base URL of the endpoint, ``http://localhost:8000/v1`` for a local vLLM server.
        model: the judge's name at that endpoint.
        key_env: name of the environment variable with the key; requests go without one where it is not set.
        max_tokens: length limit of a judgement.
        parallel: requests at a time.
    """

    url: str
    model: str
    key_env: str
    max_tokens: int
    parallel: int
    _stop: threading.Event = field(default_factory=threading.Event, repr=False)

    def __post_init__(self) -> None:
        check_url(self.url)
        if not self.model.strip():
            raise UserError("task.judge_model is empty; name the model that judges")
        if not re.fullmatch(r"[A-Za-z_]\w*", self.key_env):
            raise UserError("task.judge_key_env must be the name of an environment variable that holds the key, never the key")
        for key, value in (("judge_max_tokens", self.max_tokens), ("judge_parallel", self.parallel)):
            if value < 1:
                raise UserError(f"task.{key}={value} must be at least 1")

    def scores(self, prompts: Sequence[Messages]) -> list[Score]:
        """Of each prompt its rating / 10 as ``score``, the judge's text, and the name of the model that it says it is.

        Where it gave no rating ``unrated`` is 1, and the score 0.

        Raises:
            UserError: the judge cannot be asked now, or rates nothing at all.
        """
        scores = []
        for judgement in self.judgements(prompts):
            value, texts = rating(judgement["judgement"]), {key: judgement[key] for key in ("judgement", "served_model")}
            scores.append({"score": (value or 0.0) / 10, "unrated": float(value is None), **texts})
        if scores and not rated(scores):
            raise UserError(f"task.judge_model={self.model} gives no rating [[1]] … [[10]]; name a model that can judge")
        return scores

    def judgements(self, prompts: Sequence[Messages]) -> list[dict[str, Any]]:
        """Judge each prompt, a second time where the first judgement holds no rating.

        Judgements that an earlier call got are taken from the cache folder, so a call that stopped in the middle goes on.

        Returns:
            For each prompt the text ``judgement``, the ``judge_model`` that was asked for, and the ``served_model`` that the
            endpoint names in its answer, None where it names none.

        Raises:
            UserError: the endpoint is down, refuses, or does not speak the protocol.
        """
        files = [self._file(messages) for messages in prompts]
        judgements = {file: read_json(file) for file in files}
        missing = {file: messages for file, messages in zip(files, prompts, strict=True) if judgements[file] is None}
        self._stop.clear()
        with ThreadPoolExecutor(self.parallel) as pool, answers_bar(len(missing)) as finished:
            jobs = {pool.submit(self._judge, messages, file): file for file, messages in missing.items()}
            try:
                for job in as_completed(jobs):
                    judgements[jobs[job]] = job.result()
                    finished(1)
            except BaseException:
                self._stop.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        return [judgements[file] for file in files]  # type: ignore[misc]

    def _file(self, messages: Messages) -> Path:
        """Where the judgement of this prompt by this judge is kept."""
        name = hashlib.sha256(json.dumps([self.url.rstrip("/"), self._body(messages)], sort_keys=True).encode()).hexdigest()
        return cache_dir("judgements", name[:2]) / f"{name}.json"

    def _body(self, messages: Messages) -> dict[str, Any]:
        return {"model": self.model, "messages": messages, "temperature": 0, "max_tokens": self.max_tokens}

    def _judge(self, messages: Messages, file: Path) -> dict[str, Any] | None:
        """Ask, once more where the judgement holds no rating, and keep the judgement; None once another request has failed."""
        if self._stop.is_set():
            return None
        try:
            judgement = self._ask_patiently(messages)
            if rating(judgement["judgement"]) is None:
                judgement = self._ask_patiently(messages)
        except UserError:
            self._stop.set()
            raise
        write_json(file, judgement | {"judge_url": self.url, "messages": messages})
        return judgement

    def _ask_patiently(self, messages: Messages) -> dict[str, Any]:
        reason = "interrupted"
        for attempt in range(ATTEMPTS):
            try:
                return self._ask(messages)
            except _Transient as error:
                reason, wait = str(error), max(error.wait, BACKOFF * 2**attempt)
            if attempt + 1 == ATTEMPTS or self._stop.wait(min(wait, LONGEST_WAIT)):
                break
        raise self._error(reason, "start or mend it")

    def _ask(self, messages: Messages) -> dict[str, Any]:
        key = os.environ.get(self.key_env)
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
        address = self.url.rstrip("/") + "/chat/completions"
        request = urllib.request.Request(address, json.dumps(self._body(messages)).encode(), headers)
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
                answer = json.load(response)
            text = answer["choices"][0]["message"]["content"] or ""
            if not isinstance(text, str):  # parts, of an answer that is not text alone
                raise TypeError(type(text))
        except urllib.error.HTTPError as error:
            reply = _reply(error, key)
            if error.code in (401, 403):
                where = f"the environment variable {self.key_env}"
                raise self._error(reply, f"put a valid key into {where}" + ("" if key else ", which is not set")) from error
            if error.code in (408, 409, 425, 429) or error.code >= 500:
                wait = error.headers.get("Retry-After", "")
                raise _Transient(reply, float(wait) if wait.isdigit() else 0.0) from error
            ways = f"check that it is a base URL (most end in /v1) and serves task.judge_model={self.model}"
            raise self._error(reply, ways) from error
        except urllib.error.URLError as error:
            raise _Transient(f"cannot be reached ({error.reason})") from error
        except (OSError, http.client.HTTPException) as error:
            raise _Transient(f"broke off ({type(error).__name__})") from error
        except (ValueError, LookupError, TypeError) as error:
            raise _Transient("gives no chat completion in its answer") from error
        served = answer.get("model")
        return {
            "judge_model": self.model,
            "served_model": served if isinstance(served, str) else None,
            "judgement": text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"),  # files hold no half of a pair
        }

    def _error(self, reason: str, mend: str) -> UserError:
        return UserError(
            f"the judge task.judge_url={self.url} {reason}; {mend}. All completions and judgements so far are kept: "
            "the same command goes on from them"
        )


def _reply(error: urllib.error.HTTPError, key: str | None) -> str:
    """Status and the server's own words on one line, never with the key."""
    body = error.read(4000).decode(errors="replace")
    try:
        content = json.loads(body)
        inner = content.get("error", content)
        body = str(inner.get("message", inner) if isinstance(inner, dict) else inner)
    except (ValueError, AttributeError):
        pass
    words = " ".join(body.replace(key, "***").split() if key else body.split())[:200]
    return f"answers {error.code}" + (f" ({words})" if words else "")
