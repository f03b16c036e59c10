"""A cell from config to record: cells of one process do not leak into each other, and an interrupted one goes on."""

import json
import math

import pytest
import torch
from peft import PeftModel

from lorabench.cells.run import run
from lorabench.errors import UserError
from lorabench.schema import CONF

VARIANTS = sorted(file.stem for file in (CONF / "variant").glob("*.yaml"))
NEEDED = {"adalora": ["variant.final_share=0"], "peft": ["variant.peft_type=BOFT"], "relora": ["variant.restarts=0"]}
"""What these need in runs as short."""
SMALL = ["train_samples=16", "batch_size=8", "task.test_samples=4", "task.validation_samples=4"]


def test_a_bfloat16_base_trains_and_generates(cell):
    half = cell(*SMALL, "model.dtype=bfloat16", "variant=pissa")
    assert 0 <= run(half) <= 1
    assert half.base().model.dtype == torch.bfloat16
    half.session.forget_base()


def test_the_base_has_its_own_bits_back_after_a_cell(cell):
    base = cell().base()
    before = {name: p.clone() for name, p in base.model.named_parameters()}
    for variant in VARIANTS:
        run(cell(*SMALL, f"variant={variant}", *NEEDED.get(variant, [])))
    assert cell().base() is base
    after = dict(base.model.named_parameters())
    assert after.keys() == before.keys()
    assert all(torch.equal(p, before[name]) for name, p in after.items())


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_goes_on_to_the_same_bits(cell, tmp_path, following_steps, run_until, variant):
    overrides = ["train_samples=40", "task.test_samples=4", "task.validation_samples=4", "lr=3e-3", f"variant={variant}"]
    overrides += ["trainer.checkpoint_minutes=0", *NEEDED.get(variant, [])]
    whole = cell(*overrides, f"output_dir={tmp_path / 'whole'}")
    run(whole)
    broken = cell(*overrides, f"output_dir={tmp_path / 'broken'}")
    run_until(broken, 3)
    steps = []
    with following_steps(lambda training: steps.append(training.steps)):
        run(broken)
    assert steps == [3, 4, 5]
    records = [c.record() for c in (whole, broken)]
    for key in ("loss", "lr", "grad_norm"):
        assert records[0]["training"][key] == records[1]["training"][key]
    assert records[0]["validation_loss"] == records[1]["validation_loss"]
    assert records[0]["metrics"] == records[1]["metrics"]


def test_a_cell_leaves_its_adapter_when_asked(cell, tiny):
    made = cell(*SMALL, "save_adapter=true", "variant=pissa", "lr=3e-3")
    run(made)
    ids = tiny.tokenizer("Q: 1+1?", return_tensors="pt")["input_ids"]
    with torch.no_grad():
        base = tiny.model(input_ids=ids).logits
        adapted = PeftModel.from_pretrained(tiny.model, made.folder / "adapter")
        moved = adapted(input_ids=ids).logits
    adapted.unload()
    assert not torch.allclose(base, moved, atol=1e-3)
    assert cell(*SMALL, "variant=pissa", "lr=3e-3").id == made.id


def test_a_cell_that_was_finished_without_an_adapter_says_so(cell, capsys):
    run(cell(*SMALL))
    run(made := cell(*SMALL, "save_adapter=true"))
    assert f"{made.folder} was finished without save_adapter; delete it" in capsys.readouterr().err


def test_order_of_cells_changes_nothing(cell, tmp_path):
    scores = []
    for i, order in enumerate((("lora", "pissa"), ("pissa", "lora"))):
        cells = {v: cell(*SMALL, f"variant={v}", f"output_dir={tmp_path / str(i)}") for v in order}
        cells["lora"].session.forget_base()
        for made in cells.values():
            run(made)
        records = {v: json.loads((made.folder / "record.json").read_text()) for v, made in cells.items()}
        scores.append({v: (r["training"]["loss"], r["metrics"]) for v, r in records.items()})
    assert scores[0] == scores[1]
    assert all(math.isfinite(loss) for _, loss in scores[0]["lora"][0])


def test_a_cut_that_leaves_nothing_to_learn_is_refused(cell):
    with pytest.raises(UserError, match=r"trainer\.max_length=5 leaves no target token"):
        run(cell(*SMALL, "trainer.max_length=5"))
