"""Cells of one process do not leak into each other."""

import contextlib
import json
import math

import pytest
import torch
from peft import PeftModel

from lorabench import models, run
from lorabench.schema import CONF
from lorabench.errors import UserError
from lorabench.run import _corpus

VARIANTS = sorted(file.stem for file in (CONF / "variant").glob("*.yaml"))
SMALL = ["train_samples=16", "batch_size=8", "task.test_samples=4", "task.validation_samples=4"]


def test_a_bfloat16_base_trains_and_generates(cell):
    assert 0 <= run.run(cell(*SMALL, "model.dtype=bfloat16", "variant=pissa")) <= 1
    models.forget()


def test_another_split_has_another_corpus(cell, tmp_path, tiny):
    rows = [{"question": f"q{i}", "answer": f"a\n#### {i}"} for i in range(40)]
    for split in ("train", "test"):
        (tmp_path / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    gsm8k = ["task=math", "task.sets=[gsm8k]", f"task.path={tmp_path}"]
    corpora = [_corpus(cell(*gsm8k, f"task.validation_samples={n}"), tiny, "train") for n in (5, 20)]
    assert [len(corpus) for corpus in corpora] == [35, 20]


def test_the_base_has_its_own_bits_back_after_a_cell(cell):
    base = models.load(cell().model, torch.device("cpu"))
    before = {name: p.clone() for name, p in base.model.named_parameters()}
    for variant in VARIANTS:
        run.run(cell(*SMALL, f"variant={variant}"))
    assert models.load(cell().model, torch.device("cpu")) is base
    after = dict(base.model.named_parameters())
    assert after.keys() == before.keys()
    assert all(torch.equal(p, before[name]) for name, p in after.items())


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_goes_on_to_the_same_bits(cell, tmp_path, monkeypatch, variant):
    overrides = ["train_samples=40", "task.test_samples=4", "task.validation_samples=4", "lr=3e-3", f"variant={variant}"]
    overrides += ["trainer.checkpoint_minutes=0"]
    whole = cell(*overrides, f"output_dir={tmp_path / 'whole'}")
    run.run(whole)

    class Killed(BaseException):
        """Passes everything that handles a failure, as a kill does."""

    @contextlib.contextmanager
    def kill(*_):
        def on_step(done, total):
            if done.steps == 3:
                raise Killed

        yield on_step

    broken = cell(*overrides, f"output_dir={tmp_path / 'broken'}")
    with monkeypatch.context() as patch:
        patch.setattr(run.PROGRESS, "cell", kill)
        with pytest.raises(Killed):
            run.run(broken)
    models.forget()
    steps = []

    @contextlib.contextmanager
    def count(*_):
        yield lambda done, total: steps.append(done.steps)

    monkeypatch.setattr(run.PROGRESS, "cell", count)
    run.run(broken)
    assert steps == [3, 4, 5]
    records = [json.loads((c.folder / "record.json").read_text()) for c in (whole, broken)]
    assert records[0]["training"]["loss"] == records[1]["training"]["loss"]
    assert records[0]["validation_loss"] == records[1]["validation_loss"]
    assert records[0]["metrics"] == records[1]["metrics"]


def test_a_cell_leaves_its_adapter_when_asked(cell, tiny):
    found = cell(*SMALL, "save_adapter=true", "variant=pissa", "lr=3e-3")
    run.run(found)
    ids = tiny.tokenizer("Q: 1+1?", return_tensors="pt")["input_ids"]
    with torch.no_grad():
        base = tiny.model(input_ids=ids).logits
        adapted = PeftModel.from_pretrained(tiny.model, found.folder / "adapter")
        moved = adapted(input_ids=ids).logits
    adapted.unload()
    assert not torch.allclose(base, moved, atol=1e-3)
    assert cell(*SMALL, "variant=pissa", "lr=3e-3").id == found.id


def test_order_of_cells_changes_nothing(cell, tmp_path):
    scores = []
    for i, order in enumerate((("lora", "pissa"), ("pissa", "lora"))):
        models.forget()
        cells = {v: cell(*SMALL, f"variant={v}", f"output_dir={tmp_path / str(i)}") for v in order}
        for each in cells.values():
            run.run(each)
        found = {v: json.loads((each.folder / "record.json").read_text()) for v, each in cells.items()}
        scores.append({v: (r["training"]["loss"], r["metrics"]) for v, r in found.items()})
    assert scores[0] == scores[1]
    assert all(math.isfinite(loss) for _, loss in scores[0]["lora"][0])


def test_a_cut_that_leaves_nothing_to_learn_is_refused(cell):
    with pytest.raises(UserError, match=r"trainer\.max_length=5 leaves no target token"):
        run.run(cell(*SMALL, "trainer.max_length=5"))
