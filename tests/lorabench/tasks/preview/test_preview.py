"""python -m lorabench.tasks preview: what is shown of a task before anything is trained."""

import json
import re
import subprocess
import sys

import pytest

from lorabench.errors import UserError
from lorabench.models.load import tokenizer_and_length
from lorabench.tasks.__main__ import main, preview
from lorabench.tasks.preview.lengths import lengths, prompt_lengths
from lorabench.tasks.preview.shown import DIM, HEAD, PLAIN, TAIL, lines, parts, visible
from lorabench.training.data import Corpus

TEMPLATE = "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}\n{% endfor %}{% if add_generation_prompt %}<|assistant|>\n{% endif %}"


def sums(n=40):
    return [{"question": f"What is {i} + {i % 7}?", "answer": str(i + i % 7)} for i in range(n)]


@pytest.fixture
def file(tmp_path):
    """A function from rows to a file of them."""

    def write(rows, name="mine.jsonl"):
        path = tmp_path / name
        path.write_text("\n".join(map(json.dumps, rows)))
        return path

    return write


@pytest.fixture
def shown(file, cell):
    """A function from rows and overrides to the lines of their preview."""

    def make(rows, *overrides, width=None, colour=False):
        return list(preview(cell("task=custom", f"task.train={file(rows)}", *overrides), width, colour))

    return make


def below(head, text):
    """The lines under a heading."""
    block = text[text.index(f"\n{head}") + 1 :]
    return block[: next((i for i, line in enumerate(block) if line.startswith("\n")), len(block))]


def test_it_says_what_was_chosen_and_shows_three_examples(shown):
    text = shown(sums())
    assert text[:4] == [
        "mine: Custom of lorabench.tasks.custom",
        "  shape     prompt and response (question and answer)",
        "  template  alpaca",
        "  scorer    number, since every response is a number",
    ]
    heads = [line for line in text if line.startswith("train/")]
    assert [re.search(r"\), (.*?): \d+ tokens, \d learned", line)[1] for line in heads] == [
        "of median length", "the shortest", "the longest",
    ]  # fmt: skip
    first = text.index(heads[0])
    number = int(re.search(r"train/(\d+) \(.*mine.jsonl, line \d+\)", heads[0])[1])
    assert text[first + 1].startswith("  given   │ Below is an instruction")
    assert text[first + 4] == f"          │ What is {number} + {number % 7}?"
    learned = next(i for i in range(first, len(text)) if text[i].startswith("  learned"))
    assert text[learned : learned + 2] == [f"  learned │ {number + number % 7}", "          │ <|end|>"]


def test_rows_lengths_and_cost_are_counted(shown, cell, file):
    text = shown(sums(), "train_samples=20", "epochs=3", "task.max_new_tokens=2")
    assert below("rows", text) == [
        "  32 to train on, 4 to validate on, 4 to test on",
        "  0 of 32 training rows repeat another one",
        "  0 of 32 prompts have responses that contradict",
        "  0 of 32 training rows ask what a test problem asks",
        "  100.0% of 32 training rows' own responses are right by the scorer",
        "  100.0% of 4 test rows' own responses are right by the scorer",
    ]
    task = cell("task=custom", f"task.train={file(sums())}").task
    corpus = Corpus([task.parts(example) for example in task.train_examples()], task.tokenizer, 512)
    encoded = corpus.encode(range(32))
    table = {line[:16].strip(): [int(n) for n in line[16:].split()] for line in below("lengths in tokens", text)[1:5]}
    both = sorted(len(example.ids) for example in encoded)
    assert table["both"] == [both[0], both[15], both[28], both[31], both[31]]
    learned = sorted(example.target_tokens for example in encoded)
    assert table["responses"] == [learned[0], learned[15], learned[28], learned[31], learned[31]]
    assert [min(table["prompts"]), max(table["prompts"])] == [
        min(example.prompt_length for example in encoded), max(example.prompt_length for example in encoded),
    ]  # fmt: skip
    assert below("lengths in tokens", text)[5:] == [
        "  0 of 32 training rows are longer than trainer.max_length=512",
        f"  {sum(n > 3 for n in learned):,} of 32 ({sum(n > 3 for n in learned) / 32:.2%}) responses are longer than task.max_new_tokens=2",
    ]
    cost = below("cost of a cell", text)
    assert cost[:2] == ["  20 of 32 rows in 3 epochs", "  8 answers of at most 2 tokens each"]
    tokens = float(re.search(r"tokens to train on: about ([\d.e+]+)", cost[2])[1])
    assert tokens == pytest.approx(sum(both) / 32 * 60, rel=0.01)
    assert cost[-1].startswith("  estimated time: ")


def test_rows_that_repeat_contradict_or_are_tested_on_are_named(shown, file):
    rows = sums()
    train = [*rows, {"question": "What is  3 + 3?", "answer": "6"}, {"question": "What is 5 + 5?", "answer": "11"}]
    train += [{"question": "What is 6 + 6?", "answer": "12.0"}]
    test = file([rows[8], *({"question": f"Double {i}", "answer": str(2 * i)} for i in range(5))], "test.jsonl")
    lines = below("rows", shown(train, f"task.test={test}", "task.validation_samples=1", "task.scorer=number"))
    assert re.match(
        r"  1 of 4\d \(2.\d\d%\) training rows repeat another one, such as train/3 \(.*\) and train/40 \(.*, line 41\)",
        lines[1],
    )
    # 12.0 is 12 for the scorer, 11 is not 10.
    assert re.match(
        r"  1 of \d\d \(\d.\d\d%\) prompts have responses that contradict, such as train/5 .* and train/41 ", lines[2]
    )
    assert re.match(
        r"  1 of 4\d \(2.\d\d%\) training rows ask what a test problem asks, such as train/8 .* and test/0 ", lines[3]
    )


def test_a_test_row_that_nothing_can_meet_is_the_last_line(shown, file, cell):
    test = file([{"question": f"Double {i}", "answer": str(2 * i) if i else "none"} for i in range(5)], "test.jsonl")
    made = cell("task=custom", f"task.train={file(sums())}", f"task.test={test}", "task.scorer=number")
    text: list[str] = []
    with pytest.raises(UserError, match=r"row test/0 \(.*test.jsonl, line 1\) with the gold 'none'"):
        text.extend(preview(made))  # what came before the error stays
    assert "  80.0% of 5 test rows' own responses are right by the scorer; wrong is that of test/0 " in "\n".join(text)
    assert any(line.startswith("  estimated time") for line in text)


def test_a_conversation_is_given_and_learned_in_turn(shown, tmp_path):
    (tmp_path / "chat.jinja").write_text(TEMPLATE)
    turns = [("user", "Hi {}"), ("assistant", "Hello {}"), ("user", "Bye {}"), ("assistant", "See you {}")]
    rows = [{"messages": [{"role": role, "content": text.format(i)} for role, text in turns]} for i in range(20)]
    text = shown(rows, f"task.chat_template={tmp_path / 'chat.jinja'}")
    block = text[text.index(next(line for line in text if "the shortest" in line)) + 1 :]
    labels = [line[2:9].strip() for line in block[: block.index("")] if line[2:9].strip()]
    assert labels == ["given", "learned", "given", "learned"]
    number = re.search(r"Hi (\d+)", "\n".join(block))[1]
    assert (
        f"  learned │ Hello {number}" in block and f"  learned │ See you {number}" in block and "          │ <|end|>" in block
    )


def test_the_parts_are_the_text_of_the_tokens(cell):
    tokenizer, _ = tokenizer_and_length(cell().model)
    texts = [
        ("Say: ", "東京 👩‍👩‍👧‍👦 done\n"),
        ("", "a plain text"),
        ("a ", "b", " c\n", "d"),
        ("all given " * 300, "never seen"),
    ]
    corpus = Corpus(texts, tokenizer, 100)
    for of_text, example in zip(texts, corpus.encode(range(4)), strict=True):
        pieces = parts(tokenizer, example)
        assert "".join(text for _, text in pieces) == tokenizer.decode(list(example.ids))
        if len(example.ids) < 100 and of_text[0]:
            assert [text for _, text in pieces] == [*of_text[:-1], f"{of_text[-1]}<|end|>"]
            assert [learned for learned, _ in pieces] == [i % 2 == 1 for i in range(len(of_text))]
    assert [learned for learned, _ in parts(tokenizer, corpus.encode([3])[0])] == [False]
    assert [learned for learned, _ in parts(tokenizer, corpus.encode([1])[0])] == [False, True]  # no token predicts the first


def test_lines_fit_the_terminal_and_say_what_is_given_with_and_without_colour():
    pieces = [(False, "given " * 30 + "\n\tindented"), (True, "learned\n\n" + "x" * 200)]
    plain, coloured = (list(lines(pieces, 80, colour)) for colour in (False, True))
    assert max(map(len, plain)) <= 80
    assert [line.removeprefix(DIM).removesuffix(PLAIN) for line in coloured] == plain
    assert [line.startswith(DIM) for line in coloured] == [True] * 4 + [False] * 5
    assert [line[:11] for line in plain] == ["  given   │", *["          │"] * 3, "  learned │", *["          │"] * 4]
    assert "".join(line[12:] for line in plain[-3:]) == "x" * 200
    assert next(lines(pieces, None, False)) == "  given   │ " + ("given " * 30).rstrip()


def test_what_a_terminal_would_obey_or_hide_is_written_out():
    assert visible("\x1b[31m\u202e\ufeff\xa0\0é東👧\n\t") == r"\x1b[31m\u202e\ufeff\xa0\x00é東👧" + "\n\t"
    [first, left_out, last] = lines([(True, "a" * HEAD + "b" * 5000 + "c" * TAIL)], None, False)
    assert (first, last) == (f"  learned │ {'a' * HEAD}", f"          │ {'c' * TAIL}")
    assert left_out == "          │ … 5,000 characters …"


def test_lengths_are_those_of_training(cell):
    tokenizer, _ = tokenizer_and_length(cell().model)
    texts = [("a b", "c d"), ("", "plain text"), ("q", "a", "q", "a b c"), ("long " * 400, "x")] * 300
    measured = lengths(tokenizer, texts)
    encoded = Corpus(texts, tokenizer, 10_000).encode(range(len(texts)))
    assert measured.whole == [len(example.ids) for example in encoded]
    assert [n for n, text in zip(measured.learned, texts, strict=True) if text[0]] == [
        example.target_tokens for example, text in zip(encoded, texts, strict=True) if text[0]
    ]
    assert measured.last[2] == len(tokenizer("a b c", add_special_tokens=False)["input_ids"])
    assert prompt_lengths(tokenizer, [text[0] for text in texts[::4]])[0] == encoded[0].prompt_length


def test_texts_that_are_cut_say_so(shown):
    rows = [{"text": "word " * (900 if i == 3 else 5) + str(i)} for i in range(30)]
    text = shown(rows)
    assert re.search(r"the longest: 512 tokens of \d,?\d+, where it is cut, 511 learned", "\n".join(text))
    assert re.search(r"  1 of \d\d \(\d.\d\d%\) training rows are longer than trainer.max_length=512", "\n".join(text))
    assert "responses are longer than task.max_new_tokens" not in "\n".join(text)
    assert "  no row's own response can be scored at once" in text


def test_everything_fits_80_columns(shown):
    rows = [*sums(), {"question": "What is 5 + 5?", "answer": "11"}]
    text = shown(rows, "task.template='Question: {question}\\nAnswer:'", width=80)
    assert max(map(len, text)) <= 80
    assert "  template  Question: {question}\\\\nAnswer:" in text or "  template  Question: {question}\\nAnswer:" in text


def test_any_task_can_be_previewed(cell):
    text = list(preview(cell("task=arithmetic", "train_samples=50", "task.test_samples=10", "task.validation_samples=10")))
    assert text[0] == "arithmetic: Arithmetic of lorabench.tasks.arithmetic"
    assert "  100.0% of 10 test rows' own responses are right by the scorer" in text
    assert sum(line.startswith("  learned") for line in text) == 3


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["preveiw"], "lorabench: lorabench.tasks has no command preveiw; did you mean 'preview'?"),
        (["preview", "-m"], "lorabench: preview takes key=value, and no -m; see --help"),
        (
            ["preview", "task=arithmetic,custom"],
            "lorabench: task=arithmetic,custom has several values, and a preview is of one cell",
        ),
        (["preview", "task=custum"], "lorabench: task=custum does not exist; did you mean 'custom'?"),
        (["preview", "taks=custom"], "lorabench: unknown key 'taks'"),
        (["preview", "task=custom"], "lorabench: task=custom needs data: task.train=FILE"),
        (["preview", "word"], "lorabench: 'word' is not key=value"),
        (["preview", "--config-dir", "nowhere"], "lorabench: --config-dir"),
    ],
)
def test_wrong_words_are_one_line(words, line, capsys):
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == 2
    assert capsys.readouterr().err.startswith(line)


@pytest.mark.parametrize("words", [[], ["--help"], ["preview", "-h"]])
def test_help(words, capsys):
    main(words)
    assert capsys.readouterr().out.startswith("usage: python -m lorabench.tasks preview")


def test_the_console_script_has_it_and_reads_folders_of_ones_own(file, tmp_path):
    own = tmp_path / "own"
    own.mkdir()
    (own / "mine.py").write_text("def near(prompt, completion, response):\n    return completion.strip() == response\n")
    words = ["tasks", "preview", "task=custom", f"task.train={file(sums())}", "task.scorer=mine:near", "--config-dir", str(own)]
    code = f"import sys; sys.argv[1:] = {words!r}; from lorabench.__main__ import main; main()"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, "  scorer    mine:near" in done.stdout.splitlines()) == (0, True), done.stderr
