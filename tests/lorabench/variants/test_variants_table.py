"""``python -m lorabench.variants``."""

import runpy
import sys

import pytest

from lorabench.schema import CONF, ModelConfig
from lorabench.variants import __main__ as table
from lorabench.variants.adapter import Adapter

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
        assert bool(row.refusal) == (row.name == "peft"), row.refusal  # which must be told what


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
    assert any(line.split(maxsplit=1)[1:] == ["y = (W + s·BA)x of half the rank."] for line in lines)


def test_a_variant_that_says_what_it_trains_is_counted_by_that(tmp_path, capsys):
    (tmp_path / "variant").mkdir()
    (tmp_path / "only_b.py").write_text(
        '"""Only B: A stays."""\n\nfrom lorabench.variants.lora import LoRA\n\n\nclass OnlyB(LoRA):\n    """y = (W + s·BA)x."""\n\n'
        "    def trained(self, model):\n        named = super().trained(model)\n"
        '        return {name: p for name, p in named.items() if "lora_B" in name}\n'
    )
    (tmp_path / "variant" / "only_b.yaml").write_text("defaults: [lora]\n_target_: only_b.OnlyB\nname: only_b\n")
    table.main(["--config-dir", str(tmp_path)])
    [row] = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("only_b") and "A stays" in line]
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
    assert printed.out.rstrip().endswith(table.table(list(tiny.values())))


def test_a_variant_without_words_still_has_a_row():
    class Silent(Adapter):
        def peft_config(self):
            raise NotImplementedError

    silent = Silent(name="silent", rank=2, alpha=2.0, dropout=0.0, target_modules=["q_proj"])
    row = table.row(silent, ModelConfig(name="tiny", package="lorabench", file="tiny/checkpoint"), budget=2048)
    assert (row.formula, row.trained, row.optimizer_bytes) == ("", 4 * 2 * 256, 8 * 4 * 2 * 256)
