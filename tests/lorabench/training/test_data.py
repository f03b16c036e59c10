import random

import pytest
import torch

from lorabench.training import seed
from lorabench.training.data import Corpus, Encoded, batches, collate, micro_batches, subset


@pytest.mark.parametrize("n", [1, 7, 64])
@pytest.mark.parametrize("budget", [300, 2048])
def test_micro_batches_cover_all_within_budget_and_padding(n, budget):
    rng = random.Random(n)
    lengths = [rng.randint(5, 250) for _ in range(n)]
    groups = micro_batches(lengths, budget, 0.1)
    assert sorted(i for group in groups for i in group) == list(range(n))
    for group in groups:
        area = max(lengths[i] for i in group) * len(group)
        assert area <= budget
        assert area - sum(lengths[i] for i in group) <= 0.1 * area


def test_a_sequence_longer_than_the_budget_is_a_group_of_its_own():
    assert micro_batches([50, 500, 50], 100, 0.1) == [[1], [0, 2]]


def test_subset_is_nested_and_seeded():
    small, large = (subset(1000, n, seed.generator(3, "subset")) for n in (10, 100))
    assert large[:10] == small
    assert subset(1000, 10, seed.generator(4, "subset")) != small
    assert sorted(subset(50, None, seed.generator(3, "subset"))) == list(range(50))


def test_batches_hold_every_example_once_an_epoch_in_another_order():
    result = batches(list(range(10, 30)), 8, 2, seed.generator(0, "order"))
    assert [len(batch) for batch in result] == [8, 8, 4, 8, 8, 4]
    first, second = sum(result[:3], []), sum(result[3:], [])
    assert sorted(first) == sorted(second) == list(range(10, 30))
    assert first != second
    assert batches(list(range(10, 30)), 8, 2, seed.generator(1, "order")) != result


def test_streams_are_separate_and_seed_zero_is_a_seed():
    draws = {(s, stream): seed.stream_seed(s, stream) for s in (0, 1) for stream in seed.STREAMS}
    assert len(set(draws.values())) == len(draws)
    with pytest.raises(ValueError, match="unknown stream"):
        seed.stream_seed(0, "other")


def test_corpus_masks_the_prompt_ends_with_the_end_token_and_cuts(tiny):
    prompt, target = "Q: 12+34\nA:", " 12+34=46. The answer is 46"
    [whole] = Corpus([(prompt, target)], tiny.tokenizer, 512).encode([0])
    assert tiny.tokenizer.decode(whole.ids[: whole.prompt_length]) == prompt
    assert tiny.tokenizer.decode(whole.ids[whole.prompt_length : -1]) == target
    assert whole.ids[-1] == tiny.tokenizer.eos_token_id
    assert whole.target_tokens == len(whole.ids) - len(tiny.tokenizer(prompt)["input_ids"])
    [cut] = Corpus([(prompt, target)], tiny.tokenizer, whole.prompt_length + 3).encode([0])
    assert cut.ids == whole.ids[: whole.prompt_length + 3]
    [empty] = Corpus([(prompt, target)], tiny.tokenizer, 4).encode([0])
    assert (len(empty.ids), empty.target_tokens) == (4, 0)


def test_collate_marks_the_positions_that_predict_a_target():
    ids, attention, predict = collate(
        [Encoded((5, 6, 7, 8), 2), Encoded((9, 3), 1), Encoded((4, 4), 2)], 0, torch.device("cpu")
    )
    assert ids.tolist() == [[5, 6, 7, 8], [9, 3, 0, 0], [4, 4, 0, 0]]
    assert attention.tolist() == [[1, 1, 1, 1], [1, 1, 0, 0], [1, 1, 0, 0]]
    # Position i predicts token i + 1: targets 7 and 8 in the first row, 3 in the second, none in the third.
    assert predict.tolist() == [[False, True, True, False], [True, False, False, False], [False] * 4]
