"""Open-ended chat: trained on WizardLM Evol-Instruct, tested on MT-Bench, whose answers a judge model rates.

MT-Bench: Zheng et al. 2023 (arXiv 2306.05685), single-answer grading. Unlike there, every answer is decoded greedily.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from string import Formatter
from typing import Any, ClassVar

from lorabench.errors import UserError
from lorabench.schema import KNOB, decides_by
from lorabench.tasks.alpaca import InstructionTask
from lorabench.tasks.base import Example, Score
from lorabench.tasks.prompts import Generate, completions
from lorabench.tasks.scoring.judge import Judge, Messages, rated
from lorabench.tasks.sourced import SURROGATE, shown
from lorabench.tasks.sources.base import Row
from lorabench.tasks.sources.node import decisive_keys

SET = "mt_bench"
WITH_REFERENCE = ("math", "reasoning", "coding")  # categories that are judged beside GPT-4's answers
FIELDS = {  # judge prompts by (turn, with reference answers), and what their templates ask for
    (1, False): ("single-v1", {"question", "answer"}),
    (1, True): ("single-math-v1", {"question", "answer", "ref_answer_1"}),
    (2, False): ("single-v1-multi-turn", {"question_1", "question_2", "answer_1", "answer_2"}),
    (2, True): (
        "single-math-v1-multi-turn",
        {"question_1", "question_2", "answer_1", "answer_2", "ref_answer_1", "ref_answer_2"},
    ),
}
SECOND_TURN = "{conversation}\n\n### Instruction:\n{instruction}\n\n### Response:"


@dataclass(kw_only=True)
class Chat(InstructionTask):
    """Two-turn questions; one example a turn, with the id ``question/turn``.

    The second turn goes on with the first one's text: its prompt, the completion, then another ``### Instruction:`` and
    ``### Response:`` under the same preamble. So the model reads its own answer where training put answers, and a
    conversation of one turn is exactly the prompt that was trained. Training takes the first exchange of each conversation, and
    leaves out those that do not begin with a human's message and an answer.

    A score is the judge's rating / 10, so that ten times the mean is the MT-Bench score. An answer whose judgements hold no
    rating is left out of the mean, as in MT-Bench's own tool, and counted in ``unrated``.

    Attributes:
        judge_prompts: where MT-Bench's judge prompts come from (the fields of a source, see ``SourcedTask``).
        references: where GPT-4's reference answers come from.
        judge_url: base URL of an OpenAI-compatible endpoint.
        judge_model: the judge's name there.
        judge_key_env: name of the environment variable that holds the key.
        judge_max_tokens: length limit of a judgement.
        judge_parallel: requests at a time.
    """

    version: ClassVar[int] = 1
    validation: ClassVar[str] = "likelihood"
    set_names: ClassVar[tuple[str, ...]] = (SET,)

    judge_prompts: Any = field(default_factory=dict, metadata=decides_by(decisive_keys))
    references: Any = field(default_factory=dict, metadata=decides_by(decisive_keys))
    judge_url: str = field(metadata=KNOB)
    judge_model: str
    judge_key_env: str = field(metadata=KNOB)
    judge_max_tokens: int
    judge_parallel: int = field(metadata=KNOB)

    def __post_init__(self) -> None:
        super().__post_init__()
        assert self._judge  # its settings are checked here

    @cached_property
    def _judge(self) -> Judge:
        return Judge(self.judge_url, self.judge_model, self.judge_key_env, self.judge_max_tokens, self.judge_parallel)

    @property
    def _nodes(self) -> dict[str, Any]:
        return super()._nodes | {"judge_prompts": self.judge_prompts, "references": self.references}

    def _place(self, name: str) -> str:
        return f"task.{name}" if name in ("judge_prompts", "references") else super()._place(name)

    def fingerprint(self) -> str:
        """As of every sourced task, with the judge prompts and the reference answers."""
        judging = [f"{name}={self._source(name).fingerprint(self._key(name))}" for name in ("judge_prompts", "references")]
        return " ".join([super().fingerprint(), *judging])

    def source_examples(self) -> list[Example]:
        """First exchanges of Evol-Instruct."""
        examples = self.examples("train", self._train_example)
        if not examples:
            raise UserError(f"{self._key('train')}: no conversation begins with a message from human and one from gpt")
        return examples

    def _train_example(self, row: Row, name: str) -> Example | None:
        messages = row.get("conversations")
        if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
            columns = ", ".join(sorted(row))
            raise self.mistake(
                row, name, f"has the columns {columns}; wanted conversations, a list of objects with from and value"
            )
        for message in messages[:2]:
            self.require(row.part(message), f"{name} conversations", "from", "value")
        if [message["from"] for message in messages[:2]] != ["human", "gpt"]:
            return None
        question, answer = (message["value"] for message in messages[:2])
        return Example(name, question, answer, group=question)

    @cached_property
    def _references(self) -> dict[Any, list[str]]:
        """Reference answers of both turns by question id."""
        answers: dict[Any, list[str]] = {}
        for row in self.rows("references"):
            try:
                question, turns = row["question_id"], row["choices"][0]["turns"]
            except (LookupError, TypeError) as error:
                raise UserError(
                    f"task.references: {row.place}: wanted question_id and choices[0].turns, as in MT-Bench"
                ) from error
            if _is_id(question) and _are_two_texts(turns):
                answers[question] = turns
        return answers

    @cached_property
    def _questions(self) -> dict[str, Row]:
        """MT-Bench's rows by question id."""
        questions: dict[str, Row] = {}
        for i, row in enumerate(self.rows(SET)):
            name = f"{SET}/{i}"
            self.require(row, name, "question_id", "category", "turns", texts=["category"])
            question = row["question_id"]
            if not _is_id(question):
                raise self.mistake(row, name, f"has question_id={shown(question)}; wanted a whole number or a text")
            if not _are_two_texts(row["turns"]):
                raise self.mistake(row, name, f"has turns={shown(row['turns'])}; wanted a list of two texts")
            if str(question) in questions:
                raise self.mistake(
                    row, name, f"has the question_id {question} of {questions[str(question)].place}; give it its own"
                )
            if row["category"] in WITH_REFERENCE and question not in self._references:
                raise self.mistake(row, name, f"(question {question}, {row['category']}) has no two answers in task.references")
            questions[str(question)] = row
        return questions

    @cached_property
    def _templates(self) -> dict[str, Row]:
        """MT-Bench's judge prompts by name."""
        templates = {str(row.get("name")): row for row in self.rows("judge_prompts")}
        for name, fields in FIELDS.values():
            row: Mapping[str, Any] = templates.get(name, {})
            if not isinstance(row.get("system_prompt"), str) or _fields(row.get("prompt_template")) != fields:
                raise UserError(f"task.judge_prompts: wanted a prompt {name} with the fields {', '.join(sorted(fields))}")
        return templates

    def all_test_examples(self) -> list[Example]:
        """MT-Bench's questions, the first turn before the second."""
        if not self.used_sets:
            raise UserError(f"task.test has no {SET}; give its source")
        assert self._templates  # checked now rather than after training
        examples = []
        for name, row in self._questions.items():
            answers = self._references[row["question_id"]] if row["category"] in WITH_REFERENCE else ["", ""]
            for turn, (question, answer) in enumerate(zip(row["turns"], answers, strict=True), 1):
                examples.append(Example(f"{name}/{turn}", question, answer=answer, set=SET, group=name))
        return examples

    def complete(self, examples: Sequence[Example], generate: Generate) -> list[tuple[str, str]]:
        """All first turns, then all second turns with the conversation so far."""
        first = [example for example in examples if _turn(example) == 1]
        second = [example for example in examples if _turn(example) == 2]
        turns: dict[str, tuple[str, str]] = {}  # prompt and completion by example
        for members in (first, second):
            prompts = [
                self.evaluation_prompt(e) if members is first else _second_prompt(e, *turns[f"{e.group}/1"]) for e in members
            ]
            answers = completions(members, prompts, generate) if prompts else []
            turns |= {e.id: (p, c) for e, p, c in zip(members, prompts, answers, strict=True)}
        return [turns[example.id] for example in examples]

    def score_all(self, examples: Sequence[Example], completions: Sequence[str]) -> list[Score]:
        """Ratings / 10 of conversations, first turns included, since a second turn is judged together with its first.

        Beside ``score``: the turn, whether the judge gave no rating (``unrated`` 1, ``score`` 0), its text, and the name of the
        model that the endpoint says it served.

        Raises:
            UserError: the judge cannot be asked now, or rates nothing at all.
            ValueError: a second turn without its first.
        """
        answers = {example.id: text.strip() for example, text in zip(examples, completions, strict=True)}
        single = [example.id for example in examples if f"{example.group}/1" not in answers]
        if single:
            raise ValueError(f"turn {single[0]} is judged together with its first turn: score both")
        scores = self._judge.scores([self.judge_prompt(example, answers) for example in examples])
        return [{"score": 0.0, "turn": float(_turn(e))} | score for e, score in zip(examples, scores, strict=True)]

    def judge_prompt(self, example: Example, answers: dict[str, str]) -> Messages:
        """What the judge is asked about one turn; ``answers`` holds the answers to both turns by example id."""
        row, turn = self._questions[example.group], _turn(example)
        name, fields = FIELDS[turn, row["category"] in WITH_REFERENCE]
        values = {"question": row["turns"][0], "answer": answers[f"{example.group}/1"]}
        for i in range(1, turn + 1):
            values |= {f"question_{i}": row["turns"][i - 1], f"answer_{i}": answers[f"{example.group}/{i}"]}
            values[f"ref_answer_{i}"] = self._references[row["question_id"]][i - 1] if f"ref_answer_{i}" in fields else ""
        template = self._templates[name]
        return [
            {"role": "system", "content": template["system_prompt"]},
            {"role": "user", "content": template["prompt_template"].format_map(values)},
        ]

    def summary(self, examples: Sequence[Example], scores: Sequence[Score]) -> dict[str, Any]:
        """Mean, n and standard error over the rated answers, the mean of each turn, and the number of unrated answers.

        The two turns of a question are one group.
        """
        places = rated(scores)
        result = super().summary([examples[i] for i in places], [{"score": scores[i]["score"]} for i in places])
        for turn in (1, 2):
            values = [scores[i]["score"] for i in places if scores[i].get("turn") == turn]
            result |= {f"turn_{turn}": sum(values) / len(values)} if values else {}
        return result | {"unrated": len(scores) - len(places)}


def _turn(example: Example) -> int:
    return int(example.id.rpartition("/")[2])


def _second_prompt(example: Example, prompt: str, completion: str) -> str:
    """The prompt of a second turn."""
    return SECOND_TURN.format(conversation=(prompt + completion).rstrip(), instruction=example.question)


def _are_two_texts(turns: Any) -> bool:
    texts = isinstance(turns, list) and len(turns) == 2 and all(isinstance(text, str) for text in turns)
    return texts and all(text.strip() and not SURROGATE.search(text) for text in turns)


def _is_id(value: Any) -> bool:
    return (isinstance(value, int) and not isinstance(value, bool)) or (isinstance(value, str) and bool(value.strip()))


def _fields(template: Any) -> set[str] | None:
    """Names of the fields of a format string, None for a malformed one."""
    try:
        return {name for _, name, _, _ in Formatter().parse(template) if name is not None}
    except (ValueError, TypeError):
        return None
