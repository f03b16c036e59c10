"""Chat templates of four kinds: prompts as generation gets them, what is learned, one start token, the same ids in both."""

import copy

import pytest

from lorabench.errors import UserError
from lorabench.models.text import example_ids, prompt_ids
from lorabench.tasks.own import chat
from lorabench.tasks.own.values import BadValue
from lorabench.training.data import Corpus, collate

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LLAMA_3 = (
    "{{ bos_token }}{% for m in messages %}<|head|>{{ m.role }}<|/head|>\n\n{{ m.content | trim }}<|eot|>{% endfor %}"
    "{% if add_generation_prompt %}<|head|>assistant<|/head|>\n\n{% endif %}"
)
GEMMA_3 = (
    "{{ bos_token }}{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    "{% for m in messages %}"
    "{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}{% endif %}"
    "<|turn|>{{ 'model' if m.role == 'assistant' else m.role }}\n{{ m.content | trim }}<|/turn|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|turn|>model\n{% endif %}"
)
# The last answer is opened by an empty thought, which earlier ones lose, as Qwen3's is.
QWEN_3 = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if m.role == 'assistant' and loop.last %}<think>\n\n</think>\n\n{% endif %}{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
MARKED = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' %}{% generation %}{{ m.content }}<|im_end|>"
    "{% endgeneration %}{% else %}{{ m.content }}<|im_end|>{% endif %}\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
KINDS = {
    "chatml": (CHATML, "<|im_end|>", ""),
    "llama3": (LLAMA_3, "<|eot|>", ""),
    "gemma3": (GEMMA_3, "<|/turn|>", ""),
    "qwen3": (QWEN_3, "<|im_end|>", "<think>\n\n</think>\n\n"),
    "marked": (MARKED, "<|im_end|>", ""),
}
TOKENS = ["<|im_start|>", "<|im_end|>", "<|head|>", "<|/head|>", "<|eot|>", "<|turn|>", "<|/turn|>"]
TALK = [
    {"role": "user", "content": "What is 2 + 3?"},
    {"role": "assistant", "content": "It is 5."},
    {"role": "user", "content": "And 5 + 5?"},
    {"role": "assistant", "content": "It is 10."},
]


@pytest.fixture
def tokenizer(tiny):
    """The embedded tokenizer with tokens of chats, and a template of a kind."""

    def make(template: str | None):
        made = copy.deepcopy(tiny.tokenizer)
        made.add_special_tokens({"additional_special_tokens": TOKENS, "bos_token": "<|start|>"})
        made.chat_template = template
        return made

    return make


@pytest.mark.parametrize("kind", KINDS)
def test_each_answer_is_learned_with_what_closes_it_and_nothing_else(kind, tokenizer):
    template, closing, opening = KINDS[kind]
    parts = chat.parts(tokenizer(template), TALK)
    assert parts[1] == f"It is 5.{closing}" and parts[3] == f"{opening}It is 10.{closing}"
    assert "What is 2 + 3?" in parts[0] and "And 5 + 5?" in parts[2] and len(parts) == 4


@pytest.mark.parametrize("answer", ["in", "think", "<", "im_end"])
def test_an_answer_that_stands_in_what_opens_or_closes_it_is_learned_whole(answer, tokenizer):
    parts = chat.parts(tokenizer(QWEN_3), [TALK[0], {"role": "assistant", "content": answer}])
    assert parts[1] == f"<think>\n\n</think>\n\n{answer}<|im_end|>"


def test_a_mark_that_begins_behind_the_prompt_is_refused(tokenizer):
    late = MARKED.replace("{% generation %}", "Answer: {% generation %}")
    with pytest.raises(BadValue, match="not from where the prompt ends"):
        chat.parts(tokenizer(late), TALK)


@pytest.mark.parametrize("kind", KINDS)
def test_evaluation_asks_with_the_ids_that_training_saw(kind, tokenizer):
    made = tokenizer(KINDS[kind][0])
    parts = chat.parts(made, TALK)
    assert "".join(parts[:-1]) == chat.prompt(made, TALK[:-1])
    [(ids, ends)] = example_ids(made, [parts])
    [prompt] = prompt_ids(made, ["".join(parts[:-1])])
    assert ids[: ends[2]] == prompt
    assert ids.count(made.bos_token_id) == int("bos_token" in KINDS[kind][0])
    assert made.decode(ids[ends[0] : ends[1]]) == parts[1]


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_is_on_the_assistant_alone(kind, tokenizer):
    made = tokenizer(KINDS[kind][0])
    [encoded] = Corpus([chat.parts(made, TALK)], made, 512).encode([0])
    _, _, predict = collate([encoded], 0, "cpu")
    learned = [encoded.ids[i + 1] for i in range(len(encoded.ids) - 1) if predict[0, i]]
    assert made.decode(learned, skip_special_tokens=True).replace("<think>\n\n</think>\n\n", "") == "It is 5.It is 10."
    assert len(learned) == encoded.target_tokens == int(predict.sum())
    assert learned[-1] == made.eos_token_id


def test_a_conversation_is_cut_within_an_answer_or_a_question(tokenizer):
    made = tokenizer(CHATML)
    [whole] = Corpus([chat.parts(made, TALK)], made, 512).encode([0])
    for length in range(1, len(whole.ids) + 1):
        [cut] = Corpus([chat.parts(made, TALK)], made, length).encode([0])
        _, _, predict = collate([cut], 0, "cpu")
        _, _, all_of_it = collate([whole], 0, "cpu")
        assert predict[0, : length - 1].tolist() == all_of_it[0, : length - 1].tolist()
        assert cut.target_tokens == int(predict.sum())


def test_a_template_that_refuses_names_the_messages(tokenizer):
    made = tokenizer(GEMMA_3)
    with pytest.raises(
        BadValue, match=r"has messages of system, user, assistant, which the chat template of .* refuses \(no system role\)"
    ):
        chat.parts(made, [{"role": "system", "content": "Be brief."}, *TALK[:2]])
    with pytest.raises(BadValue, match="roles must alternate"):
        chat.parts(made, [TALK[0], *TALK[:2]])


def test_a_template_that_rewrites_what_was_said_is_refused(tokenizer):
    forgetful = "{% for m in messages[-2:] %}<|im_start|>{{ m.content }}<|im_end|>{% endfor %}{% if add_generation_prompt %}A:{% endif %}"
    with pytest.raises(BadValue, match="writes otherwise in a conversation than in a prompt"):
        chat.parts(tokenizer(forgetful), TALK)


@pytest.mark.parametrize(
    ("template", "words"),
    [
        (None, "has no chat template; give one with task.chat_template=FILE"),
        ("{% for m in messages %}{{ m.content }}\n{% endfor %}", "writes nothing for add_generation_prompt"),
        ("{% for m in %}", "refuses"),
    ],
)
def test_templates_that_make_no_prompt_are_one_line(template, words, tokenizer):
    with pytest.raises(UserError, match=words):
        chat.check_template(tokenizer(template))
