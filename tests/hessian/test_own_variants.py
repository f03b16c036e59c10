"""Variants as a contributor would write them: the block is what they train, and the short way is gone where it would lie."""

import copy
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from small_models import dense_through, family, full_name, study_of

from hessian import starts
from hessian.along import Along
from hessian.products.adapters import AdapterHessian
from hessian.products.passes import Passes
from hessian.study.run import run
from lorabench.errors import UserError
from lorabench.schema import CONF, TrainerConfig
from lorabench.training import seed
from lorabench.variants.base import adapter_layers
from lorabench.variants.lora import LoRA

ROOT = Path(__file__).resolve().parents[2]
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
NAME = "model.layers.3.self_attn.q_proj"
SETTINGS = TrainerConfig(512, 0.0, 1.0, 0.0, (0.9, 0.999), 1e-8, 10_000, 0.9, 10)


class LoRAFA(LoRA):
    """A stays as it was drawn (Zhang et al. 2023, arXiv 2308.03303)."""

    def trained(self, model):
        return {name: p for name, p in model.named_parameters() if "lora_B" in name}


class FrozenA(LoRA):
    """The same, by freezing."""

    def attach(self, model, generator, calibration=None):
        adapted = super().attach(model, generator, calibration)
        for name, p in adapted.named_parameters():
            if "lora_A" in name:
                p.requires_grad_(False)
        return adapted


class LoRAPlus(LoRA):
    """B moves faster; the start is LoRA's."""

    def optimizer(self, model, lr, **adamw):
        of_b = [p for name, p in model.named_parameters() if "lora_B" in name]
        of_a = [p for name, p in model.named_parameters() if "lora_A" in name]
        return torch.optim.AdamW([{"params": of_a}, {"params": of_b, "lr": 16 * lr}], lr=lr, **adamw)


class Larger(LoRA):
    """Another start of the same layer."""

    def factors(self, name, weight, generator):
        a, b = super().factors(name, weight, generator)
        return 10 * a, b


class Louder(LoRA):
    """Another layer: its scale is three times what LoRA says it is."""

    def peft_config(self):
        config = super().peft_config()
        config.lora_alpha *= 3
        return config


class QueriesOnly(LoRA):
    """Adapters everywhere, training in one matrix alone."""

    def trained(self, model):
        return {name: p for name, p in super().trained(model).items() if "q_proj" in name}


class WithNorms(LoRA):
    """Trains the norms of the base, too."""

    def trained(self, model):
        return {name: p for name, p in model.named_parameters() if "lora_" in name or "layernorm" in name}

    def touched(self, names):
        layers = {name.split(".self_attn")[0] for name in names if ".self_attn" in name}
        norms = ("input_layernorm", "post_attention_layernorm")
        return [*super().touched(names), *(f"{layer}.{norm}.weight" for layer in sorted(layers) for norm in norms)]


@pytest.fixture
def own(tmp_path):
    """The study of a class of this file, called ``mine`` on the command line."""

    def make(cls, *words):
        (tmp_path / "conf" / "variant").mkdir(parents=True, exist_ok=True)
        text = (CONF / "variant" / "lora.yaml").read_text().replace("name: lora", "name: mine")
        text = text.replace("lorabench.variants.lora.LoRA", f"{__name__}.{cls.__name__}")
        (tmp_path / "conf" / "variant" / "mine.yaml").write_text(text)
        words = ["variants=[mine]", "matrices=q_proj", "layers=3", "rank=2", "samples=3", *words]
        return study_of(tmp_path / "records", *words, searchpath=[f"file://{tmp_path / 'conf'}"])

    return make


def records_of(study):
    """LoRA's record, and that of ``mine``."""
    records = {record["variant"]: record for record in run(study)}
    return records["lora"], records["mine"]


def factor_b(layer):
    return [layer.lora_B["default"].weight]


def both_factors(layer):
    return [layer.lora_A["default"].weight, layer.lora_B["default"].weight]


def test_a_frozen_factor_is_not_in_the_block(own):
    study = own(LoRAFA)
    lora, contributed = records_of(study)
    assert (lora["path"], contributed["path"]) == ("LeafHessian", "AdapterHessian")
    variant, model = study.method("mine").variant, copy.deepcopy(study.base.model)
    model = variant.attach(model, seed.generator(0, "init"), study.calibration).double().eval()
    values = torch.linalg.eigvalsh(dense_through(model, study.examples(3), factor_b(dict(adapter_layers(model))[NAME])))
    assert len(values) == 256  # of 512 that LoRA has
    assert contributed["lambda_max"] == pytest.approx(float(values[-1]), rel=1e-3)
    _, frozen = records_of(own(FrozenA))
    assert (frozen["path"], frozen["lambda_max"]) == (contributed["path"], contributed["lambda_max"])
    assert frozen["id"] != contributed["id"]


@pytest.mark.parametrize("cls", [LoRAFA, FrozenA])
def test_products_are_those_of_the_trained_factor_alone(cls, examples, budget):
    base, name = family("qwen3"), full_name(1, "k_proj")
    variant = small(cls)
    with starts.adapted_model(base, variant, 0, None) as adapted:
        block = starts.parameters(adapted, variant, name, [name])
        [weight] = factor_b(dict(adapter_layers(adapted))[name])
        assert [id(tensor) for tensor in block.tensors] == [id(weight)]
        assert block.size == 3 * base.model.get_submodule(name).weight.shape[0]
        hessian = AdapterHessian(Passes(adapted, examples, 1, base.tokenizer.pad_token_id), [block], budget)
        products = torch.stack(hessian.products([block] * block.size, list(torch.eye(block.size))))
        precise = copy.deepcopy(adapted).double()
        expected = dense_through(precise, examples, factor_b(dict(adapter_layers(precise))[name]))
    assert (products - expected).abs().max() <= 1e-4 * expected.abs().max()


def test_another_optimizer_leaves_the_short_way_and_the_numbers(own):
    lora, contributed = records_of(own(LoRAPlus))
    assert lora["path"] == contributed["path"] == "LeafHessian"
    assert contributed["lambda_max"] == pytest.approx(lora["lambda_max"], rel=2e-3)


def test_another_start_takes_the_short_way_to_its_own_numbers(own):
    study = own(Larger)
    lora, contributed = records_of(study)
    assert lora["path"] == contributed["path"] == "LeafHessian"
    assert contributed["lambda_max"] > 1.5 * lora["lambda_max"]
    [factors] = starts.factors(study.base, study.method("mine").variant, [NAME], 0, study.calibration)
    [plain] = starts.factors(study.base, study.method("lora").variant, [NAME], 0, study.calibration)
    assert torch.equal(factors.lora_A, 10 * plain.lora_A)


def test_another_layer_goes_the_general_way(own):
    lora, contributed = records_of(own(Louder))
    assert (lora["path"], contributed["path"]) == ("LeafHessian", "AdapterHessian")
    assert contributed["lambda_max"] > 2 * lora["lambda_max"]


def test_a_matrix_in_which_nothing_is_trained_is_one_line(own):
    line = r"^variant=mine trains nothing in model\.layers\.3\.self_attn\.v_proj: there is no block to measure$"
    with pytest.raises(UserError, match=line):
        run(own(QueriesOnly, "matrices=v_proj"))


def test_what_is_trained_outside_the_matrices_is_said_in_one_line(own, capsys):
    study = own(WithNorms)
    run(study)
    line = "variant=mine: 8 parameters outside its matrices are in no block, such as "
    assert capsys.readouterr().err.count(line) == 1
    assert not any(p.requires_grad for p in study.base.model.parameters())


def along(matrix):
    return Along(
        name="hessian", every=1, samples=5, matrices=matrix, layers=1, tol=1e-4, max_iter=100, memory_gb=1.0, attention="math"
    )


def small(cls):
    return cls(name="mine", rank=3, alpha=6, dropout=0.0, target_modules=TARGETS)


def measure(probe, variant, examples, times=1):
    """What the probe gives of the small model with this variant, at the last time."""
    base = family("llama")
    with starts.adapted_model(base, variant, 0, None) as adapted:
        for _ in range(times):
            rows = probe.measure(adapted, variant, examples, base.tokenizer.pad_token_id, SETTINGS, 0)
    return rows


@pytest.mark.parametrize("cls", [LoRA, LoRAFA, FrozenA, Louder, WithNorms])
def test_along_training_the_block_is_what_is_trained(cls, examples):
    base, variant = family("llama"), small(cls)
    with starts.adapted_model(base, variant, 0, None) as adapted:
        precise = copy.deepcopy(adapted).double()
    layer = dict(adapter_layers(precise))[full_name(1, "o_proj")]
    matrix = dense_through(precise, examples, both_factors(layer))
    count = layer.lora_B["default"].weight.numel()
    of_both, of_b = (float(torch.linalg.eigvalsh(block)[-1]) for block in (matrix, matrix[-count:, -count:]))
    [row] = measure(along("o_proj"), variant, examples)
    assert row["lambda_max"] == pytest.approx(of_b if cls in (LoRAFA, FrozenA) else of_both, rel=1e-3)
    assert of_b < 0.99 * of_both


def test_along_training_nothing_to_measure_is_one_line(examples):
    with pytest.raises(UserError, match=r"^variant=mine trains nothing in model\.layers\.1\.self_attn\.v_proj"):
        measure(along("v_proj"), small(QueriesOnly), examples)


def test_along_training_what_is_outside_is_said_once(examples, capsys):
    measure(along("q_proj"), small(WithNorms), examples, times=2)
    assert capsys.readouterr().err.count("6 parameters outside its matrices are in no block") == 1


def test_a_class_beside_its_yaml_is_found_by_the_command(tmp_path):
    (tmp_path / "mine" / "variant").mkdir(parents=True)
    (tmp_path / "mine" / "frozen_a.py").write_text(
        '"""LoRA-FA."""\n\nfrom lorabench.variants.lora import LoRA\n\n\nclass Mine(LoRA):\n'
        '    """A is frozen."""\n\n    def trained(self, model):\n'
        '        return {name: p for name, p in model.named_parameters() if "lora_B" in name}\n'
    )
    text = (CONF / "variant" / "lora.yaml").read_text().replace("name: lora", "name: mine")
    text = text.replace("lorabench.variants.lora.LoRA", "frozen_a.Mine")
    (tmp_path / "mine" / "variant" / "mine.yaml").write_text(text)
    words = ["variants=[mine]", "--config-dir", str(tmp_path / "mine"), "matrices=q_proj", "layers=3", "rank=2", "samples=3"]
    command = [sys.executable, "-m", "hessian", *words, f"output_dir={tmp_path / 'records'}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    blocks = [json.loads(file.read_text()) for file in (tmp_path / "records").glob("*.json")]
    [record] = [record for record in blocks if record["variant"] == "mine"]
    assert record["path"] == "AdapterHessian" and record["identity"]["variant"]["code"]["frozen_a.Mine"].startswith("sha256:")
    again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert "2 of 2 blocks were done before" in again.stderr
