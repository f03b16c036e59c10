"""Streams of one seed and of others are told apart, also by what torch keeps of a seed."""

import pytest
import torch

from lorabench.training.seed import STREAMS, generator, stream_seed

KEPT = 2**32
"""What a CPU generator tells apart."""


def drawn(seed):
    return torch.rand(4, generator=torch.Generator().manual_seed(seed)).tolist()


def test_a_cpu_generator_keeps_32_bits_of_a_seed():
    assert drawn(5) == drawn(5 + KEPT) == drawn(5 + 2**40) != drawn(6)
    assert drawn(stream_seed(3, "order")) == drawn(stream_seed(3, "order") % KEPT)


def test_the_first_thousand_seeds_have_streams_of_their_own():
    kept = [stream_seed(seed, stream) % KEPT for seed in range(1000) for stream in STREAMS]
    assert len(set(kept)) == len(kept)


def test_what_is_kept_has_no_pattern():
    """By chance 2.9 pairs of 158,000 meet, and each of the 32 bits is one in half of them (σ = 0.13 %)."""
    kept = torch.tensor([stream_seed(seed, stream) % KEPT for seed in range(31600) for stream in STREAMS])
    assert len(kept) - len(kept.unique()) <= 10
    ones = torch.stack([(kept >> bit & 1).double().mean() for bit in range(32)])
    assert ((ones - 0.5).abs() < 5 * 0.00126).all()


def test_the_streams_are_what_they_always_were():
    assert stream_seed(0, "init") == 1519069808562059438
    assert generator(0, "order").initial_seed() == stream_seed(0, "order")


def test_a_stream_that_is_none_is_an_error():
    with pytest.raises(ValueError, match="unknown stream 'data'"):
        stream_seed(0, "data")
