"""Quantised bases: what starts on one is trained and answered on it, everything else is refused in one line."""

import copy
import importlib.util
import json

import pytest
import torch
from omegaconf import OmegaConf
from peft import PeftModel
from transformers import AutoModelForCausalLM, GPT2Config

from hessian.__main__ import compose_config
from lorabench.cells.changes import bit_sums
from lorabench.cells.checks import check
from lorabench.cells.plan import preflight
from lorabench.cells.run import run
from lorabench.cells.session import base_key
from lorabench.errors import UserError
from lorabench.models.load import load
from lorabench.models.quantised import check_layers
from lorabench.models.shapes import linear_layers
from lorabench.schema import ModelConfig

KINDS = ["nf4", "int8"]
STARTS = ["lora", "rslora", "loraplus", "loft", "lora_pro", "gralora", "randlora"]
CPU = torch.device("cpu")
FEW = ["train_samples=64", "task.validation_samples=4", "task.test_samples=4", "task.max_new_tokens=4", "rank=4"]
needs_bitsandbytes = pytest.mark.skipif(
    not importlib.util.find_spec("bitsandbytes"), reason="bitsandbytes is not installed (pip install -e '.[quantised]')"
)


def tiny(kind, dtype="float32"):
    spec = ModelConfig(name="tiny", package="lorabench", file="tiny/checkpoint", dtype=dtype, quantization=kind)
    return load(spec, CPU, getattr(torch, dtype))


def nf4(weight):
    """What the weight stands for in 4 bits: quantiles of N(0, 1), scaled to −1 … 1, times the largest of 64 (appendix E)."""
    from scipy.stats import norm

    offset = (1 - 1 / 30 + 1 - 1 / 32) / 2
    positive = torch.tensor(norm.ppf(torch.linspace(offset, 0.5, 9)[:-1].numpy()))
    negative = -torch.tensor(norm.ppf(torch.linspace(offset, 0.5, 8)[:-1].numpy()))
    code = torch.cat([negative, torch.zeros(1, dtype=torch.float64), positive]).sort().values
    code = code / code.max()
    blocks = weight.double().reshape(-1, 64)
    largest = blocks.abs().amax(1, keepdim=True)
    nearest = (blocks[..., None] / largest[..., None] - code).abs().argmin(-1)
    return (code[nearest] * largest).view(weight.shape)


def int8(weight):
    """Whole numbers of −127 … 127 times the largest of a row."""
    largest = weight.double().abs().amax(1, keepdim=True)
    return (weight.double() / largest * 127).round() * largest / 127


@needs_bitsandbytes
@pytest.mark.parametrize("kind", KINDS)
def test_a_layer_computes_with_what_its_bits_stand_for(kind):
    plain, base = tiny(None), tiny(kind)
    assert {name: p.shape for name, p in base.weights().items()} == {name: p.shape for name, p in plain.weights().items()}
    layers = linear_layers(base.model)
    assert layers.keys() == linear_layers(plain.model).keys()
    assert not any(layer.weight.is_floating_point() for layer in layers.values())
    assert base.state["quantization"] == kind and "quantization" not in plain.state
    x = torch.randn(2, 5, 128, generator=torch.Generator().manual_seed(0))
    for name in ("model.layers.0.self_attn.q_proj", "model.layers.3.mlp.up_proj"):
        weight = plain.model.get_parameter(f"{name}.weight").detach()
        expected = x.double() @ {"nf4": nf4, "int8": int8}[kind](weight).T
        made = layers[name](x).double()
        assert (made - expected).norm() <= {"nf4": 1e-3, "int8": 2e-2}[kind] * expected.norm()  # int8 rounds inputs, too
        # bitsandbytes makes int8 of the weights in float16, which at a tie may be another whole number.
        stands_for = {"nf4": nf4(weight), "int8": int8(weight.half())}[kind]
        error = (base.weights()[f"{name}.weight"].double() - stands_for).norm() / stands_for.norm()
        assert error <= {"nf4": 1e-6, "int8": 1e-3}[kind]


@needs_bitsandbytes
@pytest.mark.parametrize("kind", KINDS)
def test_a_token_does_not_depend_on_its_micro_batch(kind):
    base = tiny(kind)
    ids = torch.randint(3, 500, (6, 20), generator=torch.Generator().manual_seed(0))
    ids[0, 0] = 7
    with torch.no_grad():
        together = base.model(ids).logits
        alone = torch.cat([base.model(row[None]).logits for row in ids])
    assert torch.allclose(together, alone, atol=1e-3 * float(together.abs().max()))


@needs_bitsandbytes
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", STARTS)
def test_a_cell_on_a_quantised_base(name, kind, cell):
    made = cell(f"model.quantization={kind}", f"variant={name}", "lr=1e-2", *FEW, "save_adapter=true")
    assert made.variant.starts_on_quantised
    base = made.base()
    before = bit_sums(dict(base.model.named_parameters()))
    run(made)
    record = json.loads((made.folder / "record.json").read_text())
    assert record["status"] == "complete"
    assert record["model"]["quantization"] == record["identity"]["model"]["quantization"] == kind
    assert record["evaluation"]["merged"] is False
    assert record["training"]["loss"][-1][1] < record["training"]["loss"][0][1]
    assert made.base() is base
    assert bit_sums(dict(base.model.named_parameters())) == before
    loaded = PeftModel.from_pretrained(copy.deepcopy(base.model), made.folder / "adapter")
    assert sum(p.numel() for key, p in loaded.named_parameters() if "lora" in key)
    assert record["training"]["trainable_parameters"] > 0


@needs_bitsandbytes
def test_bfloat16_beside_four_bits(cell):
    made = cell("model.quantization=nf4", "model.dtype=bfloat16", "lr=1e-2", *FEW)
    run(made)
    record = json.loads((made.folder / "record.json").read_text())
    assert record["training"]["loss"][-1][1] < record["training"]["loss"][0][1]


@needs_bitsandbytes
@pytest.mark.parametrize("name", ["pissa", "dora", "full", "lora_ga", "relora", "milora"])
def test_what_reads_or_changes_w_is_refused(name, cell):
    made = cell("model.quantization=nf4", f"variant={name}", *FEW)
    with pytest.raises(UserError, match=rf"^model\.quantization=nf4: variant={name} reads or changes W") as raised:
        check(made)
    assert "\n" not in str(raised.value)


@needs_bitsandbytes
def test_other_layers_and_measures_are_refused(cell):
    with torch.device("meta"):
        gpt2 = AutoModelForCausalLM.from_config(GPT2Config(vocab_size=512, n_embd=32, n_layer=1, n_head=2))
    with pytest.raises(
        UserError, match=r"^model=mine: transformer\.h\.0\.attn\.c_attn is a Conv1D, which is not quantised here"
    ):
        check_layers(gpt2, "mine")
    with pytest.raises(UserError, match=r"model\.quantization=nf4: second derivatives need plain floats; use probe=none"):
        check(cell("model.quantization=nf4", "probe=hessian"))


def test_a_study_of_a_quantised_base_is_refused():
    from hydra import initialize_config_dir

    from hessian.study.study import Study
    from lorabench.cells.session import current
    from lorabench.schema import CONF

    with (
        initialize_config_dir(str(CONF), version_base="1.3"),
        pytest.raises(UserError, match="need plain floats; leave it out"),
    ):
        Study(compose_config(["model.quantization=nf4"]), current())


def test_an_unknown_kind_and_a_missing_package_are_one_line(cell, monkeypatch):
    with pytest.raises(UserError, match=r"^model\.quantization=fp4 is unknown; available: nf4, int8, or null for none$"):
        preflight([OmegaConf.create(cell("model.quantization=fp4").config)])
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "bitsandbytes" else find(name, *a))
    with pytest.raises(UserError, match=r"^model\.quantization=nf4 needs the package bitsandbytes: pip install"):
        preflight([OmegaConf.create(cell("model.quantization=nf4").config)])


def test_it_is_part_of_the_identity_where_it_is_set(cell):
    ids = {cell(*words).id for words in ([], ["model.quantization=nf4"], ["model.quantization=int8"])}
    assert len(ids) == 3
    assert cell("model.quantization=null").id == cell().id
    assert "quantization" not in cell().identity["model"]


def test_a_process_loads_each_kind_for_itself(cell):
    words = ([], ["model.quantization=nf4"], ["model.quantization=int8"])
    assert len({base_key(cell(*each).model, CPU) for each in words}) == 3
