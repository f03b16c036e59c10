"""Merged weights that cannot stand for what was trained are refused; before, the base's own were scored in their place."""

import json

import pytest

from lorabench.cells.run import run
from lorabench.contributed import OwnFault, reason
from lorabench.variants.lora import LoRA

SMALL = ["train_samples=16", "batch_size=8", "task.test_samples=2", "task.validation_samples=2", "lr=5e-3"]
FIRST = "model.layers.0.mlp.down_proj.weight"


class Leaving(LoRA):
    """Leaves a matrix out."""

    def merged(self, model):
        return {name: weight for name, weight in super().merged(model).items() if name != FIRST}


class Empty(LoRA):
    """Leaves them all out."""

    def merged(self, model):
        return {}


class Prefixed(LoRA):
    """Names them as the adapted model does."""

    def merged(self, model):
        return super().merged(model) | {f"base_model.{FIRST}": super().merged(model)[FIRST]}


class Transposed(LoRA):
    """Of the shape [n, m]."""

    def merged(self, model):
        return super().merged(model) | {FIRST: super().merged(model)[FIRST].T}


class Double(LoRA):
    """In another precision."""

    def merged(self, model):
        return super().merged(model) | {FIRST: super().merged(model)[FIRST].double()}


class Infinite(LoRA):
    """Divided by zero."""

    def merged(self, model):
        return super().merged(model) | {FIRST: super().merged(model)[FIRST] / 0}


class Staying(LoRA):
    """Leaves its adapters in the base."""

    def detach(self, model):
        pass


class Moving(LoRA):
    """Scales a weight that is not its own while it merges."""

    def merged(self, model):
        model.get_base_model().get_parameter("model.norm.weight").data *= 2
        return super().merged(model)


@pytest.mark.parametrize(
    ("cls", "text"),
    [
        (Leaving, f"merged() lacks {FIRST}, which would be scored as the base's own"),
        (Empty, f"merged() lacks {FIRST} and 27 more, which would be scored as the base's own"),
        (Prefixed, f"merged() has base_model.{FIRST}, which the base has not; name weights as in the base"),
        (Transposed, f"merged() has {FIRST} of shape [352, 128]; the base has it of [128, 352]"),
        (Double, f"merged() has {FIRST} of dtype torch.float64; the base has it of torch.float32"),
        (Infinite, f"merged() has values in {FIRST} that are not finite"),
        (Staying, "detach() left layers of its own in the base, which the next cell would train and score"),
        (Moving, "detach() left weights of the base changed that its touched() does not name; so may merged() or save()"),
    ],
    ids=lambda of: of.__name__ if isinstance(of, type) else "",
)
def test_what_cannot_be_scored_is_one_line_and_harms_no_other_cell(own, cell, tmp_path, cls, text):
    made = own(cls, *SMALL)
    with pytest.raises(OwnFault) as caught:
        run(made)
    record = json.loads((made.folder / "record.json").read_text())
    assert (record["status"], record["error"]) == ("failed", reason(caught.value))
    assert record["error"].startswith("test_merged.py:") and record["error"].endswith(f": {cls.__name__}.{text}")
    for folder in ("after", "anew"):
        run(cell(*SMALL, f"output_dir={tmp_path / folder}"))
        cell().session.forget_base()
    after, anew = (
        [json.loads(file.read_text()) for file in tmp_path.glob(f"{name}/*/record.json")] for name in ("after", "anew")
    )
    assert after[0]["training"]["loss"] == anew[0]["training"]["loss"]
