"""Stop texts end an answer where they stand in it, and nowhere else."""

import pytest
import torch

from lorabench.generation.hf import HFGenerator
from lorabench.generation.stops import Stops, cut


@pytest.fixture
def generator(tiny):
    made = HFGenerator(name="hf", batch_tokens=16384)
    made.load(tiny)
    return made


def test_an_answer_ends_before_the_first_stop_text():
    assert cut("a. b\nQ: c", ["\nQ", "."]) == "a"
    assert cut("abc", ["x"]) == cut("abc", []) == "abc"


def test_answers_are_those_without_stops_cut(generator, arithmetic, monkeypatch):
    prompts = [arithmetic.prompt(example) for example in arithmetic.test_examples()]
    free = generator.generate(prompts, 24)
    steps = []
    call = Stops.__call__
    monkeypatch.setattr(Stops, "__call__", lambda self, *args, **more: steps.append(1) or call(self, *args, **more))
    for stop in (["is"], [".", "The answer"], ["no such text"], [" "]):
        steps.clear()
        assert generator.generate(prompts, 24, stop) == [cut(text, stop) for text in free]
        assert (len(steps) < 10) == (stop == [" "])  # it ends the rows, and not only cuts them


def test_a_stop_text_that_the_prompt_began_does_not_end_the_answer(generator, tiny):
    """Of ``A: 1``, whose answer goes on with a digit, the text of both would hold the stop text."""
    prompt = "Q: Tom has 3 apples and buys 4. How many?\nA:"
    free = generator.generate([prompt], 12)[0]
    first = tiny.tokenizer.decode(tiny.tokenizer(free)["input_ids"][:1])
    assert generator.generate([prompt], 12, ["A:" + first]) == [free]


def test_a_stop_text_is_looked_for_in_each_row_as_it_will_be_decoded(tiny):
    tokenizer = tiny.tokenizer
    [prompt] = tokenizer(["Q: 1+1\nA:"])["input_ids"]

    def ends(answer, stop, *more):
        ids = [0, 0, *prompt, *tokenizer(answer)["input_ids"], *more]
        return Stops(tokenizer, [prompt], len(prompt) + 2, stop, [1])(torch.tensor([ids]), None).item()

    assert ends(" 12 = é. The answer", ["answer"])
    assert ends(" 12 = é", ["é"])  # two bytes, one character
    assert not ends(" 12 = é. The answes", ["answer", "A:"])
    assert not ends(" 12", ["answer"], 1, *tokenizer("answer")["input_ids"])  # ended before: what follows is padding
    assert ends(" 12 = é. The answer" + " 1" * 30, ["answer" + " 1" * 30])
