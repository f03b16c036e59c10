"""``python -m lorabench.variants``."""

import runpy
import sys

import pytest
import torch
from peft import PeftType

from lorabench.schema import CONF, ModelConfig
from lorabench.training.seed import generator
from lorabench.variants import __main__ as table
from lorabench.variants import peft_types
from lorabench.variants.adapter import Adapter
from lorabench.variants.base import base_parameters
from lorabench.variants.lora import LoRA

NAMES = sorted(file.stem for file in (CONF / "variant").glob("*.yaml"))
SQUARE = 4 * 4 * (128 + 128)  # rows and columns of the tiny model's adapted matrices: four square ones a layer, four layers
MLP = 4 * 3 * (128 + 352)


@pytest.fixture(scope="module")
def tiny():
    return {row.name: row for row in table.rows("tiny", 8)}


def test_every_yaml_has_a_row_with_its_formula_and_change(tiny):
    assert sorted(tiny) == NAMES
    for row in tiny.values():
        assert len(row.formula) > 20, row.name
        assert row.change, row.name
        assert not row.refusal
        assert bool(row.open) == (row.name == "peft")  # whose type is to be chosen


def test_every_formula_names_its_paper(tiny):
    unnamed = {name for name, row in tiny.items() if row.source == "-"}
    assert unnamed == {"peft"}  # each of its types has one
    assert tiny["full"].source == "2106.09685"  # section 5.1 of LoRA's


def test_methods_of_peft_are_one_row_that_says_what_to_choose(tiny):
    [line] = [line for line in table.table(list(tiny.values())).splitlines() if line.startswith("peft") and "TYPE" in line]
    runs = sum(kind.value not in peft_types.LACKS for kind in PeftType)
    assert f"variant.peft_type=TYPE, {runs} of {len(PeftType)} train here" in line and "cannot" not in line


@pytest.mark.parametrize(("model", "rank"), [("tiny", 8), ("tiny", 128), ("llama-2-13b", 64)])
def test_no_line_is_wider_than_120(model, rank, capsys):
    table.main(["--model", model, "--rank", str(rank)])
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 120
    if (model, rank) == ("tiny", 128):
        assert "cannot: " in printed


@pytest.mark.parametrize("name", [name for name in NAMES if name != "peft"])
def test_a_quantised_base_is_enough_where_the_start_is_the_same_on_any_weights(name, build, fresh):
    variant, starts = build(name), []
    for noise in (0.0, 0.01):
        base = fresh("tiny").model
        with torch.no_grad():
            for layer in (module for module in base.modules() if isinstance(module, torch.nn.Linear)):
                layer.weight += noise * layer.weight.roll(1)
        before = {name: w.clone() for name, w in base.state_dict().items()}
        if not type(variant).starts_on_quantised:
            return  # of those, too, some may start alike, and change W later
        adapted = variant.attach(base, generator(0, "init"))
        after = base_parameters(adapted, dict(adapted.named_parameters()))
        assert all(torch.equal(after[name], before[name]) for name in after.keys() & before.keys())
        starts.append({name: p.detach().clone() for name, p in variant.trained(adapted).items()})
    assert starts[0].keys() == starts[1].keys()
    assert all(torch.equal(starts[0][name], starts[1][name]) for name in starts[0])


def test_which_would_do_with_a_quantised_base(tiny):
    assert {"lora", "rslora", "gralora", "randlora", "loft"} <= {name for name, row in tiny.items() if row.quantised}
    for name in (
        "dora",
        "full",
        "galore",
        "init_ab",
        "lora_ga",
        "milora",
        "olora",
        "pissa",
        "svft",
    ):  # W's norms, W itself, or W − s·BA
        assert not tiny[name].quantised, name


def test_a_subclass_with_another_start_does_not_inherit_it():
    class Other(LoRA):
        def factors(self, name, weight, generator):
            return weight[: self.rank], None

    class Merging(LoRA):
        def after_step(self, model, optimizer, step, total):
            return None

    class Rates(LoRA):
        def clip(self, model, optimizer, max_norm):
            return 0.0

    assert [each.starts_on_quantised for each in (Other, Merging, Rates)] == [False, False, True]
    assert [each.bilinear for each in (Other, Merging, Rates)] == [True, True, True]


def test_what_no_plain_weights_hold_is_said(build):
    spec = ModelConfig(name="tiny", package="lorabench", file="tiny/checkpoint")
    prompts = build("peft", peft_type="PROMPT_TUNING", config={"num_virtual_tokens": 8})
    kept, merged = (table.row(variant, spec, budget=78_848) for variant in (prompts, build("lora")))
    assert (kept.merged, merged.merged) == (False, True)
    lines = table.table([kept, merged]).splitlines()
    assert [line.split()[4] for line in lines[1:3]] == ["no", "yes"]


def test_counts_and_memory_follow_the_formulas(tiny):
    lora = 8 * (SQUARE + MLP)
    outputs = 4 * (4 * 128 + 2 * 352 + 128)
    assert tiny["lora"].trained == lora
    assert tiny["lora"].optimizer_bytes == 8 * lora
    assert tiny["dora"].trained == lora + outputs
    assert tiny["gralora"].trained == lora
    assert tiny["randlora"].trained == 28 * 22 * (6 + 128)
    assert tiny["randlora"].share == pytest.approx(28 * 22 * 134 / lora)
    assert tiny["lora_fa"].trained == 8 * outputs
    assert tiny["lora_pro"].trained == tiny["loraplus"].trained == lora
    assert tiny["lora_pro"].optimizer_bytes == 8 * 4 * (4 * 128 * 128 + 3 * 128 * 352)
    assert tiny["loft"].optimizer_bytes == 4 * (SQUARE + MLP) * (8 + 8 + 8**2)


def test_a_rank_that_one_variant_cannot_have_is_said_in_its_row():
    rows = {row.name: row for row in table.rows("tiny", 7)}
    assert "does not divide rank=7" in rows["gralora"].refusal
    assert rows["lora"].trained == 7 * (SQUARE + MLP)
    assert "cannot: variant.k=2 does not divide rank=7" in table.table(list(rows.values()))


def test_a_variant_of_ones_own_has_its_row(tmp_path, capsys):
    (tmp_path / "variant").mkdir()
    (tmp_path / "half_rank.py").write_text(
        '"""Half: half the rank."""\n\nfrom lorabench.variants.lora import LoRA\n\n\nclass Half(LoRA):\n    """y = (W + s·BA)x of half the rank."""\n'
    )
    (tmp_path / "variant" / "half.yaml").write_text("defaults: [lora]\n_target_: half_rank.Half\nname: half\n")
    table.main(["--config-dir", str(tmp_path)])
    lines = capsys.readouterr().out.splitlines()
    assert any(line.split()[:3] == ["half", "78,848", "1.000"] for line in lines)
    assert any(line.strip() == "y = (W + s·BA)x of half the rank." for line in lines)


def test_a_variant_that_says_what_it_trains_is_counted_by_that(tmp_path, capsys):
    (tmp_path / "variant").mkdir()
    (tmp_path / "only_b.py").write_text(
        '"""Only B: A stays."""\n\nfrom lorabench.variants.lora import LoRA\n\n\nclass OnlyB(LoRA):\n    """y = (W + s·BA)x."""\n\n'
        "    def trained(self, model):\n        named = super().trained(model)\n"
        '        return {name: p for name, p in named.items() if "lora_B" in name}\n'
    )
    (tmp_path / "variant" / "only_b.yaml").write_text("defaults: [lora]\n_target_: only_b.OnlyB\nname: only_b\n")
    table.main(["--config-dir", str(tmp_path)])
    [row] = [
        line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("only_b") and "A stays" not in line
    ]
    of_b = 8 * 4 * (4 * 128 + 2 * 352 + 128)
    assert row[1:4] == [f"{of_b:,}", f"{of_b / (8 * (SQUARE + MLP)):.3f}", f"{8 * of_b / 1e6:.2f}"]


def test_a_larger_model_needs_no_weights(capsys):
    table.main(["--model", "llama-2-7b", "--rank", "16"])
    lines = capsys.readouterr().out.splitlines()
    assert any(line.split()[:3] == ["lora", "39,976,960", "1.000"] for line in lines)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--model", "tinny"], "did you mean 'tiny'?"),
        (["--rank", "0"], "rank=0"),
        (["--rank", "129"], "use rank <= 128"),
    ],
)
def test_a_mistake_ends_in_one_line_and_code_2(arguments, words, capsys):
    with pytest.raises(SystemExit) as end:
        table.main(arguments)
    printed = capsys.readouterr()
    assert end.value.code == 2
    assert printed.out == ""
    assert words in printed.err
    assert printed.err.count("\n") == 1


def test_it_runs_as_a_module(tiny, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["lorabench.variants"])
    monkeypatch.delitem(sys.modules, "lorabench.variants.__main__")
    runpy.run_module("lorabench.variants", run_name="__main__")
    printed = capsys.readouterr()
    assert printed.err == ""
    assert table.table(list(tiny.values())) in printed.out


def test_a_variant_without_words_still_has_a_row():
    class Silent(Adapter):
        def peft_config(self):
            raise NotImplementedError

    silent = Silent(name="silent", rank=2, alpha=2.0, dropout=0.0, target_modules=["q_proj"])
    row = table.row(silent, ModelConfig(name="tiny", package="lorabench", file="tiny/checkpoint"), budget=2048)
    assert (row.formula, row.trained, row.optimizer_bytes) == ("", 4 * 2 * 256, 8 * 4 * 2 * 256)
