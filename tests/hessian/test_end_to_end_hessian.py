"""What the records say against the dense Hessian of the embedded model through PEFT's own layers, in float64."""

import copy
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from small_models import dense_through, study_of

from hessian import starts
from hessian.study.run import run
from lorabench.training import seed

CONF = Path(__file__).resolve().parents[2] / "conf"
NAME = "model.layers.3.self_attn.q_proj"


def q_proj_study(folder, *words):
    return study_of(folder, "matrices=q_proj", "layers=3", "rank=2", "samples=3", *words)


def plain(study, factors):
    """PEFT's LoRA layer on the base's W − s·B₀A₀, holding the factors."""
    model = get_peft_model(copy.deepcopy(study.base.model).double(), LoraConfig(r=2, lora_alpha=2, target_modules=[NAME]))
    layer = model.base_model.model.get_submodule(NAME)
    layer.scaling["default"] = factors.scale
    with torch.no_grad():
        layer.lora_A["default"].weight.copy_(factors.lora_A)
        layer.lora_B["default"].weight.copy_(factors.lora_B)
        layer.get_base_layer().weight -= factors.scale * factors.lora_B.double() @ factors.lora_A.double()
    return model.double().eval(), [layer.lora_A["default"].weight, layer.lora_B["default"].weight]


def assert_recorded(record, model, tensors, examples):
    values = torch.linalg.eigvalsh(dense_through(model, examples, tensors))
    assert len(values) == sum(tensor.numel() for tensor in tensors) >= 512
    assert record["converged"]
    assert record["lambda_max"] == pytest.approx(float(values[-1]), rel=1e-3)
    assert record["lambda_min"] == pytest.approx(float(values[0]), abs=0.03 * float(values.abs().max()))
    assert record["upper_bound"] >= float(values[-1])


@pytest.mark.parametrize("name", ["lora", "pissa"])
def test_blocks_at_the_start_of_the_function(tmp_path, name):
    study = q_proj_study(tmp_path, f"variants=[{name}]")
    record = next(record for record in run(study) if record["variant"] == name)
    assert record["path"] == "LeafHessian"
    [factors] = starts.factors(study.base, study.method(name).variant, [NAME], 0, study.calibration)
    assert_recorded(record, *plain(study, factors), study.examples(3))


@pytest.mark.parametrize("name", ["dora", "gralora"])
def test_blocks_through_the_adapters(tmp_path, name):
    study = q_proj_study(tmp_path, f"variants=[{name}]")
    record = next(record for record in run(study) if record["variant"] == name)
    assert record["path"] == "AdapterHessian"
    variant = study.method(name).variant
    model = variant.attach(copy.deepcopy(study.base.model), seed.generator(0, "init"), study.calibration)
    model = model.double().eval()
    layer = model.base_model.model.get_submodule(NAME)
    assert_recorded(record, model, [p for p in layer.parameters() if p.requires_grad], study.examples(3))
