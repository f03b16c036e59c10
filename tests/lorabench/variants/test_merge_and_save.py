"""Trained adapters as plain weights, and as files for plain PEFT on the untouched base in another process."""

import json
import subprocess
import sys

import pytest
import torch
from peft import PeftModel
from safetensors.torch import save_file

from lorabench.schema import CONF
from lorabench.variants.pissa import PiSSA
from lorabench.variants.rslora import RsLoRA

RANK, ALPHA = 8, 12
OTHERS = {"bottleneck", "full", "galore", "peft"}  # whose files are of other forms, with tests of their own
ADAPTERS = sorted({file.stem for file in (CONF / "variant").glob("*.yaml")} - OTHERS)
CHANGED_BASE = ["pissa", "milora", "olora", "init_ab", "lora_ga", "corda", "dude"]
SHIFTS = {
    "vera": 0.3,
    "adalora": 0.1,
    "lora_sb": 0.3,
    "nora": 0.1,
    "svft": 0.3,
}  # products of three: what is small alone is too small together
FREE_ALPHA = [
    "lora",
    "rslora",
    "dora",
    "eva",
    "lora_one",
    "adalora",
    "lora_sb",
    "nora",
    "nlora",
    "sinelora",
    "mora",
    "sharelora",
    "tied_lora",
    "rasa",
    "delta_lora",
    *CHANGED_BASE,
]

LOAD = """
import hashlib, json, sys
from pathlib import Path
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

def digest(model):
    state = sorted(model.state_dict().items())
    return hashlib.sha256(b"".join(name.encode() + tensor.numpy().tobytes() for name, tensor in state)).hexdigest()

def loaded(adapter):
    if not (adapter / "merged.safetensors").exists():
        return PeftModel.from_pretrained(base, adapter), True
    model = AutoModelForCausalLM.from_pretrained(folder / "base", dtype=torch.float32).eval()
    assert not model.load_state_dict(load_file(adapter / "merged.safetensors"), strict=False).unexpected_keys
    return model, False

def error(model):
    with torch.no_grad():
        logits = model(input_ids=batch["ids"], attention_mask=batch["mask"]).logits[batch["mask"].bool()]
    return float((logits - expected).norm() / expected.norm())

folder, results = Path(sys.argv[1]), {}
base = AutoModelForCausalLM.from_pretrained(folder / "base", dtype=torch.float32).eval()
batch = load_file(folder / "batch.safetensors")
before = digest(base)
for adapter in sorted(path for path in folder.iterdir() if path.is_dir() and path.name != "base"):
    expected = load_file(adapter / "logits.safetensors")["logits"]
    errors, digests = [], []
    for _ in range(2):
        model, adapted = loaded(adapter)
        errors.append(error(model))
        base = model.unload() if adapted else base
        digests.append(digest(base))
    results[adapter.name] = {"errors": errors, "base_kept": digests == [before, before]}
assert "lorabench" not in sys.modules
print(json.dumps(results))
"""


def trained(variant, base, attach, shift):
    adapted = attach(variant, base)
    shift(adapted, SHIFTS.get(variant.name, 0.02))
    return adapted


@pytest.mark.parametrize("model", ["tiny", "gemma3"])
def test_merged_weights_reproduce_the_adapted_model(
    variant_name, model, fresh, build, attach, shift, logits, base_logits, relative
):
    base, untouched = fresh(model), fresh(model)
    variant = build(variant_name, **({"alpha": ALPHA} if variant_name in FREE_ALPHA else {}))
    adapted = trained(variant, base, attach, shift)
    expected = logits(base, adapted)
    assert relative(expected, base_logits(model)) > 1e-2
    merged = variant.merged(adapted)
    assert torch.equal(logits(base, adapted), expected)  # merging left the model as it was
    assert set(merged) == {f"{name}.weight" for name in variant.targets(dict(untouched.model.named_modules()))}
    if not variant.mergeable:  # it answers itself, with tests of its own
        return
    untouched.assign(merged)
    assert relative(logits(untouched), expected) <= 1e-5


@pytest.fixture(scope="module")
def loaded_elsewhere(tmp_path_factory, fresh, build, attach, shift, batch, logits):
    """What plain PEFT makes in a fresh process of every variant's saved adapter."""
    folder = tmp_path_factory.mktemp("adapters")
    untouched = fresh("gemma3")
    untouched.model.save_pretrained(folder / "base")
    ids, mask = batch(untouched)
    save_file({"ids": ids, "mask": mask}, folder / "batch.safetensors")
    for name in ADAPTERS:
        base = fresh("gemma3")
        variant = build(name, **({"alpha": ALPHA} if name in FREE_ALPHA else {}))
        adapted = trained(variant, base, attach, shift)
        variant.save(adapted, folder / name)
        save_file({"logits": logits(base, adapted)}, folder / name / "logits.safetensors")
    run = subprocess.run([sys.executable, "-c", LOAD, folder], capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", ADAPTERS)
def test_plain_peft_loads_the_saved_adapter_on_the_untouched_base(name, loaded_elsewhere):
    result = loaded_elsewhere[name]
    assert max(result["errors"]) <= 1e-5  # the second time, too
    assert result["base_kept"]


class RsPiSSA(RsLoRA, PiSSA):
    """A changed base and a scale of alpha / √rank."""


@pytest.mark.parametrize("name", [*CHANGED_BASE, "rspissa"])
def test_a_changed_base_is_saved_as_plain_lora_of_twice_the_rank(name, tmp_path, fresh, build, attach, shift, logits, relative):
    base = fresh("llama")
    variant = build("pissa" if name == "rspissa" else name, alpha=ALPHA)
    if name == "rspissa":
        variant = RsPiSSA(**{key: value for key, value in vars(variant).items() if key != "initial"})
    adapted = trained(variant, base, attach, shift)
    variant.save(adapted, tmp_path)
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert config["r"] == 2 * RANK
    assert config["lora_alpha"] / config["r"] == pytest.approx(variant.scale, rel=1e-12)
    assert config["use_rslora"] is False
    assert config["init_lora_weights"] is True
    loaded = PeftModel.from_pretrained(fresh("llama").model, tmp_path)
    assert relative(logits(base, loaded), logits(base, adapted)) <= 1e-5


def test_an_untrained_adapter_is_saved_as_no_change(tmp_path, fresh, build, attach, logits, base_logits, relative):
    base, untouched = fresh("llama"), fresh("llama")
    variant = build("pissa")
    variant.save(attach(variant, base), tmp_path)
    loaded = PeftModel.from_pretrained(untouched.model, tmp_path)
    assert relative(logits(untouched, loaded), base_logits("llama")) <= 1e-5


def test_lora_is_saved_with_its_own_rank_and_alpha(tmp_path, fresh, build, attach):
    base = fresh("llama")
    variant = build("rslora", alpha=ALPHA)
    variant.save(attach(variant, base), tmp_path)
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"], config["use_rslora"]) == (RANK, ALPHA, True)


def test_initial_factors_are_forgotten_with_the_adapter(fresh, build, attach):
    base = fresh("llama")
    variant = build("olora")
    adapted = attach(variant, base)
    assert len(variant.initial) == 14
    variant.detach(adapted)
    assert not variant.initial
