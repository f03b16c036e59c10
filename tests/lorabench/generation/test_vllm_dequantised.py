"""A cell on a quantised base that an engine answers: its weights reach it as one plain checkpoint, dequantised and merged."""

import importlib.util
import json

import pytest
import torch
from transformers import AutoModelForCausalLM

from lorabench.cells.changes import bit_sums
from lorabench.cells.checks import check
from lorabench.cells.forecast import main_memory
from lorabench.cells.run import run
from lorabench.errors import UserError
from lorabench.generation.vllm import VLLMGenerator

pytestmark = pytest.mark.skipif(
    not importlib.util.find_spec("bitsandbytes"), reason="bitsandbytes is not installed (pip install -e '.[quantised]')"
)
FEW = ["train_samples=64", "task.validation_samples=2", "task.test_samples=2", "rank=4", "lr=1e-2"]


@pytest.fixture
def checkpoints(monkeypatch):
    """The models that transformers makes of what the engine is given, and their generator."""
    write, models = VLLMGenerator._write, []

    def kept(self, weights):
        state = write(self, weights)
        models.append(AutoModelForCausalLM.from_pretrained(self._folder, dtype=self._base.model.dtype))
        return state

    monkeypatch.setattr(VLLMGenerator, "_write", kept)
    return models


@pytest.mark.parametrize("kind", ["nf4", "int8"])
@pytest.mark.parametrize("name", ["lora", "adalora", "mora"])
def test_a_cell_is_answered_by_its_merged_weights(name, kind, stand_in, cell, checkpoints, monkeypatch):
    made = cell(f"model.quantization={kind}", "evaluator=vllm", f"variant={name}", "variant.alpha=4", *FEW)
    detach, logits, ids = type(made.variant).detach, [], torch.arange(3, 60)[None]

    def asked(self, model):
        with torch.no_grad():
            logits.append(model.eval()(ids).logits)
        detach(self, model)

    monkeypatch.setattr(type(made.variant), "detach", asked)
    base = made.base()
    before = bit_sums(dict(base.model.named_parameters()))
    with torch.no_grad():
        logits.append(base.model(ids).logits)
    run(made)
    made.generator.close()
    record = json.loads((made.folder / "record.json").read_text())
    assert record["status"] == "complete" and record["evaluation"]["merged"] is True
    assert bit_sums(dict(base.model.named_parameters())) == before
    assert len(checkpoints) == len(logits) == 2  # the untouched base's, then the cell's
    for model, wanted in zip(checkpoints, logits, strict=True):
        with torch.no_grad():
            distance = (model(ids).logits - wanted).norm() / wanted.norm()
        assert distance < {"nf4": 1e-5, "int8": 0.1}[kind]
    assert (logits[0] - logits[1]).norm() > 1e-3 * logits[0].norm()


def test_what_has_no_plain_weights_is_refused(stand_in, cell):
    made = cell("model.quantization=nf4", "evaluator=vllm", "variant=bottleneck", *FEW)
    with pytest.raises(UserError, match=r"^variant=bottleneck cannot be merged into plain weights") as raised:
        check(made)
    assert "\n" not in str(raised.value)


def test_the_forecast_counts_the_merged_weights(stand_in, cell):
    parts = [
        main_memory(cell("model.quantization=nf4", f"evaluator={evaluator}", *FEW), "cuda", torch.float32)["the merged weights"]
        for evaluator in ("hf", "vllm")
    ]
    plain = main_memory(cell("evaluator=vllm", *FEW), "cuda", torch.float32)["the merged weights"]
    assert parts == [0, plain]
