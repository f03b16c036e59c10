import pytest
import torch

from lorabench.generation.canary import Canary, CanaryError, Reading, sample


def test_the_canary_allows_equal_weights_and_close_ones():
    weights, close, far = ({"w": torch.full((8, 8), value)} for value in (1.0, 1.0 + 1e-4, 1.1))
    for dtype, equal in ((torch.bfloat16, (weights, close)), (torch.float32, (weights,))):
        canary = Canary(*[Reading([-1.0], sample(weights, dtype))] * 2)
        for served in equal:  # in bfloat16 both are 1
            canary.check(Reading([-1.0], sample(served, dtype)), is_base=False)
        with pytest.raises(CanaryError, match="still serves the base's weights"):
            canary.check(Reading([-1.0], sample(far, dtype)), is_base=False)
    with pytest.raises(CanaryError, match="still serves the base's weights"):
        canary.check(Reading([-1.0], sample(close, torch.float32)), is_base=False)


def test_the_canary_samples_every_column_and_weight():
    weight = torch.arange(576 * 576, dtype=torch.float32).reshape(576, 576)
    values = sample({"a": weight, "b": torch.tensor([-1.0])}, torch.float32)
    assert 1000 < len(values) < 2000
    assert len(set((values[:-1] % 576).tolist())) > 500
    assert values[-1] == -1
