"""MoRA against matrices written value by value: three steps of training, the merge, ranks, and what is refused."""

import math

import pytest
import torch
from safetensors.torch import load_file

from lorabench.errors import UserError
from lorabench.models.shapes import Shapes
from lorabench.variants.base import adapter_layers

ALPHA = 12


def square(layer):
    return [layer.lora_A["default"].weight]


def compression(n, q, kind):
    """C: [q, n] of ``sharing``, or the blocks of ``rope`` [k, q, n], entry by entry."""
    k = math.ceil(n / q)
    maps = torch.zeros(k, q, n, dtype=torch.float64)
    for place in range(k * q):
        maps[place // q, place % q, place % n] += 1  # behind the end, x begins again
    if kind == "sharing":
        return maps.sum(0)
    turned = maps.clone()
    for t in range(k):
        for i in range(q // 2):
            angle = t * 10000 ** (-2 * i / q)
            cos, sin = math.cos(angle), math.sin(angle)
            turned[t, i] = cos * maps[t, i] - sin * maps[t, i + q // 2]
            turned[t, i + q // 2] = cos * maps[t, i + q // 2] + sin * maps[t, i]
    return turned


def weight(kind, cache={}):  # noqa: B006 - maps of each shape, made once
    def formula(frozen, m):
        shape = (*frozen.shape, len(m), kind)
        if shape not in cache:
            cache[shape] = compression(frozen.shape[1], len(m), kind)
        product = m @ cache[shape]
        rows = product.flatten(0, -2)
        return frozen + ALPHA / 8 * rows[torch.arange(len(frozen)) % len(rows)]

    return formula


@pytest.mark.parametrize("kind", ["rope", "sharing"])
def test_three_steps_are_adamw_on_the_square(kind, build, follows):
    variant = build("mora", alpha=ALPHA, kind=kind)
    model = follows(variant, square, weight(kind))
    for _, layer in adapter_layers(model):
        m, n = layer.out_features, layer.in_features
        q = int(math.sqrt(8 * (m + n)) + 0.5)
        assert len(square(layer)[0]) == (q - q % 2 if kind == "rope" else q)


@pytest.mark.parametrize("kind", ["rope", "sharing"])
def test_the_merge_is_exact_and_of_high_rank(kind, tmp_path, fresh, build, attach, shift):
    base, untouched = fresh("gemma3"), fresh("gemma3").model
    variant = build("mora", alpha=ALPHA, kind=kind)
    model = attach(variant, base)
    shift(model)
    variant.save(model, tmp_path)
    saved = load_file(tmp_path / "merged.safetensors")
    for name, layer in adapter_layers(model):
        before = untouched.get_parameter(f"{name}.weight").detach()
        whole = weight(kind)(before.double(), square(layer)[0].detach().double())
        torch.testing.assert_close(saved[f"{name}.weight"].double(), whole, atol=1e-6, rtol=1e-6)
        rank = torch.linalg.matrix_rank(whole - before.double(), rtol=1e-6)
        assert rank == (len(square(layer)[0]) if kind == "sharing" else min(before.shape)), name


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"kind": "type6"}, r"variant\.kind=type6 is unknown; available: rope, sharing"),
        ({"rank": 22}, r"rank=22 makes a square of 64 for .*q_proj \(128 x 64\), which has 64; use rank <= 21"),
    ],
)
def test_wrong_settings_are_one_line(fields, words, build):
    shapes = Shapes({f"layers.0.{module}": (128, 64) for module in build("mora").target_modules})
    if "rank" in fields:
        build("mora", **fields).check(shapes)  # 64.99 is 64 when made even: the largest that fits
        fields, words = {"rank": 23}, words.replace("22", "23").replace("of 64", "of 66")
    with pytest.raises(UserError, match=words) as error:
        build("mora", **fields).check(shapes)
    assert "\n" not in str(error.value)
