"""What a method does to the base is declared, measured, kept and undone; what it leaves to chance is seeded."""

import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from lorabench.cells.run import run
from lorabench.errors import UserError
from lorabench.files import read_json

NORM = "model.norm.weight"
SMALL = ["train_samples=64", "lr=2e-3", "rank=4", "task.test_samples=5", "task.validation_samples=5"]
HEAD = '''"""A method."""

import torch

from lorabench.variants.lora import LoRA


class Method(LoRA):
    """y = Wx."""

'''


@pytest.fixture
def method(tmp_path, monkeypatch, cell):
    """A cell of a method whose class has this body; each has a module of its own."""
    number = iter(range(100))

    def make(body: str, *words: str):
        name = f"method_{Path(tmp_path).name}_{next(number)}".replace("-", "_")
        (tmp_path / f"{name}.py").write_text(HEAD + body)
        monkeypatch.syspath_prepend(str(tmp_path))
        return cell(*SMALL, f"variant._target_={name}.Method", "variant.name=method", *words)

    return make


def record(of_cell):
    run(of_cell)
    return read_json(of_cell.folder / "record.json")


SCALES_NORM = """
    def attach(self, model, generator, calibration=None):
        with torch.no_grad():
            model.get_parameter("model.norm.weight").mul_(0.5)
        return super().attach(model, generator, calibration)
"""
HOOK = """
    def after_step(self, model, optimizer, step, total):
        with torch.no_grad():
            for name, p in model.named_parameters():
                if "layers.0.self_attn.q_proj.base_layer" in name:
                    p.mul_(0.99)
"""
DECLARES = """
    def touched(self, names):
        return [*super().touched(names), "model.norm.weight"]
"""


def test_a_weight_that_is_changed_and_not_declared_is_refused_and_harms_no_other_cell(method, cell):
    before = record(cell(*SMALL, "seed=1"))["training"]["loss"]
    with pytest.raises(UserError, match=rf"variant=method changes {NORM} of the base, which its touched\(\) does not name"):
        run(method(SCALES_NORM))
    assert record(cell(*SMALL, "seed=1", "task.max_new_tokens=39"))["training"]["loss"] == before


def test_a_weight_that_is_changed_and_declared_is_merged_saved_and_undone(method, cell, tiny, capsys):
    done = method(SCALES_NORM + DECLARES, "save_adapter=true")
    pristine = tiny.model.get_parameter(NORM).detach().clone()
    trained = record(done)
    assert torch.equal(tiny.model.get_parameter(NORM), pristine)
    assert torch.equal(load_file(done.folder / "adapter" / "merged.safetensors")[NORM], pristine * 0.5)
    assert f"changes {NORM} of the base, which no PEFT adapter holds" in capsys.readouterr().err
    assert trained["training"]["loss"][0] != record(cell(*SMALL))["training"]["loss"][0]


def test_a_weight_that_a_hook_moves_is_in_what_is_saved(method, tiny):
    done = method(HOOK, "save_adapter=true")
    run(done)
    name = "model.layers.0.self_attn.q_proj.weight"
    merged = load_file(done.folder / "adapter" / "merged.safetensors")[name]
    plain = dict(tiny.model.named_parameters())[name]
    assert (merged.norm() / plain.norm()).item() == pytest.approx(0.99**8, rel=5e-2)


def test_a_weight_that_a_hook_moves_goes_through_an_interruption(method, monkeypatch):
    words = ["trainer.checkpoint_minutes=0"]
    whole = record(method(HOOK))["training"]["loss"]
    halted = method(HOOK, *words)

    from lorabench.training import checkpoint

    write, calls = checkpoint.Checkpoint.write, []

    def interrupted(self, *arguments):
        write(self, *arguments)
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint.Checkpoint, "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(halted)
    halted.session.forget_base()
    monkeypatch.setattr(checkpoint.Checkpoint, "write", write)
    assert record(halted)["training"]["loss"] == whole


def test_no_such_weight_is_one_line(method):
    with pytest.raises(UserError, match=r"the model has no weight model\.nrom\.weight"):
        run(method(DECLARES.replace("norm", "nrom")))


def test_matrices_that_are_not_adapted_are_not_counted(method):
    body = "    def targets(self, names):\n        return [n for n in super().targets(names) if '.0.' in n]\n"
    with pytest.raises(UserError, match=r"variant=method: its targets\(\) and the layers that it adapts differ"):
        run(method(body))


def test_a_scale_of_ones_own_reaches_the_layer(method, cell):
    body = "    @property\n    def scale(self):\n        return 4 * super().scale\n"
    assert record(method(body))["training"]["loss"] == record(cell(*SMALL, "variant.alpha=16"))["training"]["loss"]


@pytest.mark.parametrize(
    "body",
    [
        "    def factors(self, name, weight, generator):\n        return torch.randn(self.rank, weight.shape[1]) / 8, None\n",
        "    def optimizer(self, model, lr, **adamw):\n        return super().optimizer(model, lr * (1 + float(torch.rand(()))), **adamw)\n",
    ],
    ids=["factors", "optimizer"],
)
def test_what_is_drawn_without_the_generator_is_seeded_too(method, body):
    torch.manual_seed(1)
    first = record(method(body))["training"]["loss"]
    torch.manual_seed(2)
    assert record(method(body))["training"]["loss"] == first


def test_a_probe_leaves_nothing_behind(cell, tmp_path, monkeypatch):
    (tmp_path / "rude.py").write_text(
        '"""A probe."""\n\nimport torch\n\nfrom lorabench.probes.none import NoProbe\n\n\nclass Rude(NoProbe):\n    """Rude."""\n\n'
        "    def measure(self, model, variant, examples, pad, trainer, seed):\n"
        "        torch.randn(3)\n        model.eval()\n        model.requires_grad_(False)\n"
        '        return [{"name": "x", "lambda_max": 1.0}]\n'
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    words = [*SMALL, "variant.dropout=0.2"]
    plain = record(cell(*words, f"output_dir={tmp_path}/plain"))
    watched = record(cell(*words, f"output_dir={tmp_path}/watched", "probe._target_=rude.Rude", "+probe.every=1"))
    assert watched["id"] == plain["id"] and watched["training"]["loss"] == plain["training"]["loss"]
    assert len(watched["sharpness"]) == watched["training"]["steps"] + 1
    assert "rude" in sys.modules
