"""What cannot work is refused before anything is trained, each with one line; and what would run is said."""

import pytest
from omegaconf import OmegaConf

from lorabench.cells.plan import preflight
from lorabench.errors import UserError


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["lr=0"], "lr=0.0 must be greater than 0"),
        (["lr=-1e-3"], "lr=-0.001 must be greater than 0"),
        (["batch_size=0"], "batch_size=0 must be"),
        (["epochs=0"], "epochs=0 must be"),
        (["rank=0"], "rank=0 must be"),
        (["rank=129"], r"rank=129 is larger than model.layers.0.self_attn.q_proj \(128 x 128\) allows; use rank <= 128"),
        (["train_samples=0"], "train_samples=0 must be at least 1, or null"),
        (["train_samples=20001"], "more than the 20000 that task=arithmetic has"),
        (["variant.alpha=0"], "variant.alpha=0 must be positive"),
        (["variant.dropout=1"], "variant.dropout=1.* must lie in"),
        (["variant.target_modules=[q_prj]"], "no linear layer 'q_prj'; did you mean 'q_proj'"),
        (["+variant.foo=1"], "unknown key 'variant.foo'; available: alpha, dropout"),
        (["variant=pissa", "variant.iterations=-1"], "variant.iterations=-1"),
        (["trainer.max_length=0"], "trainer.max_length=0"),
        (["trainer.warmup_ratio=1"], "trainer.warmup_ratio=1"),
        (["trainer.micro_batch_tokens=0"], "trainer.micro_batch_tokens=0"),
        (["evaluator.batch_tokens=0"], "evaluator.batch_tokens=0"),
        (["+evaluator.foo=1"], "unknown key 'evaluator.foo'; available: batch_tokens"),
        (["lr=inf"], "lr=inf must be a finite number"),
        (["trainer.betas=[1.5,0.9]"], "trainer.betas"),
        (["trainer.weight_decay=-1"], "trainer.weight_decay=-1.0 must not be negative"),
        (["model.hub=a/b", "model.package=null"], "needs model.revision=COMMIT"),
        (["task.test_samples=0"], "task.test_samples=0"),
        (["model.dtype=float8"], "model.dtype=float8 is unknown; available: auto, float32, bfloat16"),
        (["model.weights=none"], "model.weights=none is unknown"),
        (["device=tpu9"], "device=tpu9 is not supported; use auto, cpu, cuda"),
        (["variant.target_modules=[]"], "variant.target_modules is empty"),
        (["model.weights=random", "model.architecture.vocab_size=100"], "vocab_size must be at least 512"),
        (["output_dir="], r'output_dir="" is blank; give a text$'),
        (["when_busy=never"], "when_busy=never is unknown"),
        (["task=math", "task.sets=[gsm]"], "task.sets=gsm: task=math has no such test set; available: gsm8k, math"),
        (["task=math", "task.sets=gsm8k"], r"task.sets=gsm8k must be a list of texts or null; write task.sets=\[gsm8k\]"),
        (["+batchsize=4"], "unknown key 'batchsize'; did you mean 'batch_size'"),
        (["+trainer.warmup=1"], "unknown key 'trainer.warmup'; did you mean 'warmup_ratio'"),
        (["+model.hubs=a"], "unknown key 'model.hubs'; did you mean 'hub'"),
        (["variant.rank=4"], "variant.rank=4 is not rank=8, which it follows; leave it out and write rank=4"),
        (["variant.alpha=nan"], "variant.alpha=nan must be a finite number"),
        (["variant.target_modules=q_proj"], r"write variant.target_modules=\[q_proj\]"),
        (["variant.target_modules=[lm_head]"], "no linear layer 'lm_head'"),
        (["output_dir=/dev/null/runs"], "output_dir=/dev/null/runs cannot be written"),
    ],
)
def test_bad_values_are_refused_in_one_line_before_anything_is_trained(cell, tmp_path, overrides, message):
    with pytest.raises(UserError, match=message) as raised:
        preflight([OmegaConf.create(cell(*overrides).config)])
    assert "\n" not in str(raised.value)
    assert not list(tmp_path.glob("*/record.json"))


def test_the_whole_grid_is_checked_first_and_the_cell_is_named(cell):
    with pytest.raises(UserError, match=r"cell 3 of 3 \(tiny arithmetic lora lr=-1e0 .*lr=-1.0 must be greater than 0"):
        preflight([OmegaConf.create(cell(f"lr={lr}").config) for lr in ("1e-3", "2e-3", "-1")])


def test_plan_counts_and_runs_nothing(cell, tmp_path, capsys):
    grid = [cell("plan=true", f"lr={lr}", f"seed={s}") for lr in ("1e-3", "2e-3") for s in (0, 1, 2)]
    assert preflight([OmegaConf.create(c.config) for c in grid]) is False
    out = capsys.readouterr().out
    assert out.startswith("6 cells: 6 to run")
    assert "lr              2  1e-3, 2e-3" in out
    assert "tokens to train on: about 3.41e+05" in out  # 6 cells x 800 samples x 71 tokens
    assert "estimated time: " in out
    assert not list(tmp_path.iterdir())


def test_the_plan_of_a_search_counts_what_it_will_run(cell, tmp_path, capsys):
    configs = [OmegaConf.create(cell("plan=true", f"lr={lr}").config) for lr in ("1e-3", "2e-3", "6e-3")]
    expected = [OmegaConf.create(cell("plan=true", "train_fraction=0.1", f"seed={s}").config) for s in range(4)]
    assert preflight(configs, expected=lambda: [*expected, configs[0]]) is False
    out = capsys.readouterr().out
    assert out.startswith("5 cells, chosen as the search goes on\n")
    assert "lr              3  1e-3, 2e-3, 6e-3" in out
    assert "tokens to train on: about 7.95e+04" in out  # (4 x 80 samples + 800) x 71 tokens


def test_a_search_does_not_pass_over_busy_cells(cell):
    config = OmegaConf.create(cell("when_busy=defer").config)
    with pytest.raises(UserError, match="when_busy=defer is for grids"):
        preflight([config], expected=list)


def test_plan_works_without_weights_and_data(cell, capsys):
    grid = [cell("plan=true", "model=gemma-3-1b", "task=commonsense", f"lr={lr}") for lr in ("1e-3", "2e-3")]
    assert preflight([OmegaConf.create(c.config) for c in grid]) is False
    assert capsys.readouterr().out.startswith("2 cells: 2 to run")


def test_a_node_that_builds_no_such_part_is_one_line():
    from lorabench.cells.parts import build
    from lorabench.subsets.base import Subset

    for node, line in (
        ({"name": "mine", "rank": 8}, "subset=mine: its yaml has no _target_; name the class"),
        (
            {"name": "mine", "_target_": "builtins.dict"},
            "subset=mine: builtins.dict is no Subset; derive it from lorabench.subsets",
        ),
        ({"name": "mine", "_target_": "lorabench.nowhere.Mine"}, "subset=mine: cannot import lorabench.nowhere.Mine"),
    ):
        with pytest.raises(UserError, match=line):
            build(node, "subset", Subset)
