"""``samples=auto`` and ``layers=auto``: when they stop, and what they leave in the folder."""

import json
import math
import re
from types import SimpleNamespace

import numpy as np
import pytest
from small_models import study_of

from hessian.blocks import Place
from hessian.lanczos import LanczosResult
from hessian.study import rounds
from hessian.study import run as run_module
from hessian.study.rounds import samples_wanted
from hessian.study.run import medians_suffice, run

AUTO = ["matrices=q_proj", "layers=3", "rank=2", "samples=auto", "hessian.tol=1e-2"]
SHARP = {"lora": 1.0, "pissa": 5.0, "olora": 3.0, "milora": 2.0}
"""λmax of many samples."""


@pytest.fixture
def notes(monkeypatch):
    """What the user reads."""
    lines = []
    for module in (rounds, run_module):
        monkeypatch.setattr(module, "note", lines.append)
    return lines


@pytest.fixture
def solver(monkeypatch):
    """Stands for the solver: λmax is ``SHARP`` · (1 + bias/n); keeps what it solved, and may stop after some blocks."""
    state = SimpleNamespace(solved=[], bias={}, stop=None)
    shared = np.random.default_rng(0).lognormal(sigma=0.3, size=500)

    def solve_leaves(study, blocks, samples):
        for block in blocks:
            if state.stop == len(state.solved):
                raise KeyboardInterrupt
            state.solved.append((samples, block.variant))
            values = shared[:samples] / samples * SHARP[block.variant] * (1 + state.bias.get(block.variant, 0) / samples)
            result = dict.fromkeys(LanczosResult.__dataclass_fields__, 0.0)
            result |= {"eigenvalues": [values.sum()], "residuals": [0.0], "converged": True}
            facts = {"sequences": samples, "target_tokens": [10] * samples, "path": "LeafHessian"}
            yield block, SimpleNamespace(result=SimpleNamespace(**result), parts=values[:, None, None]), facts

    for module in (rounds, run_module):
        monkeypatch.setattr(module, "solve_leaves", solve_leaves)
    return state


def study(folder, *words):
    return study_of(folder, *AUTO, *words)


def files(folder):
    return {path.name: path.read_bytes() for path in folder.glob("*.json")}


def by_variant(folder):
    return {record["variant"]: record for record in map(json.loads, files(folder).values())}


def test_a_first_round_is_never_the_last(tmp_path, solver):
    run(study(tmp_path, "variants=[pissa]"))
    assert solver.solved == [(16, "lora"), (16, "pissa"), (32, "lora"), (32, "pissa")]
    pissa = by_variant(tmp_path)["pissa"]
    assert (pissa["sequences"], pissa["earlier"]) == (32, {"sequences": 16, "ratio": pytest.approx(5.0)})


def test_a_ratio_that_falls_with_the_samples_is_not_known(tmp_path, solver):
    """Its interval has no width at all from the first round on."""
    solver.bias["olora"] = 16
    run(study(tmp_path, "variants=[olora]"))
    # 6, 4.5, 3.75, 3.375, 3.19: the last step is the first of less than 10 %.
    assert [samples for samples, variant in solver.solved if variant == "olora"] == [16, 32, 64, 128, 256]
    assert by_variant(tmp_path)["olora"]["ratio"]["value"] == pytest.approx(3 * (1 + 1 / 16))


def test_it_ends_where_there_are_no_more_samples(tmp_path, solver):
    solver.bias["olora"] = 1e6
    run(study(tmp_path, "variants=[olora]"))
    assert solver.solved[-1] == (500, "olora")


def test_nothing_is_measured_again_when_all_is_known(tmp_path, solver, notes):
    run(study(tmp_path, "variants=[pissa]"))
    before = files(tmp_path)
    solver.solved.clear()
    run(study(tmp_path, "variants=[pissa]"))
    assert solver.solved == [] and files(tmp_path) == before


def test_another_variant_begins_where_lora_is(tmp_path, solver):
    run(study(tmp_path, "variants=[pissa]"))
    before = files(tmp_path)
    solver.solved.clear()
    run(study(tmp_path, "variants=[olora]"))
    assert solver.solved == [(16, "lora"), (16, "olora"), (32, "olora")]
    after = files(tmp_path)
    assert {name: after[name] for name in before} == before
    assert by_variant(tmp_path)["olora"]["earlier"] == {"sequences": 16, "ratio": pytest.approx(3.0)}


def test_where_lora_grows_the_others_of_the_folder_grow_with_it(tmp_path, solver):
    run(study(tmp_path, "variants=[pissa]"))
    solver.bias |= {"olora": 16, "lora": 2}
    run(study(tmp_path, "variants=[olora]"))
    records = by_variant(tmp_path)
    assert {name: record["sequences"] for name, record in records.items()} == dict.fromkeys(("lora", "pissa", "olora"), 128)
    for record in records.values():
        assert record["ratio"]["value"] == pytest.approx(record["lambda_max"] / records["lora"]["lambda_max"])


@pytest.mark.parametrize("stop", [1, 4])
def test_an_interruption_costs_one_block(tmp_path, solver, stop):
    whole = tmp_path / "whole"
    run(study(whole, "variants=[pissa,olora]"))
    work = solver.solved.copy()
    assert [samples for samples, _ in work] == [16] * 3 + [32] * 3
    solver.solved.clear()
    solver.stop = stop
    part = tmp_path / "part"
    with pytest.raises(KeyboardInterrupt):
        run(study(part, "variants=[pissa,olora]"))
    solver.stop = None
    run(study(part, "variants=[pissa,olora]"))
    assert solver.solved == work
    at_once, twice = by_variant(whole), by_variant(part)
    assert {n: (r["sequences"], r["ratio"], r["earlier"]) for n, r in at_once.items()} == {
        n: (r["sequences"], r["ratio"], r["earlier"]) for n, r in twice.items()
    }


def test_a_mixed_folder_is_made_even(tmp_path, solver):
    run(study(tmp_path, "variants=[pissa,olora]"))
    for path in tmp_path.glob("*.json"):
        record = json.loads(path.read_text())
        if record["variant"] == "lora":
            path.write_text(json.dumps(record | {"sequences": 16}))
    solver.solved.clear()
    run(study(tmp_path, "variants=[pissa]"))
    assert solver.solved == [(32, "lora")]


def test_progress_never_counts_twice(tmp_path, solver, notes):
    solver.bias["olora"] = 16
    run(study(tmp_path, "layers=all", "variants=[olora,pissa]"))
    run(study(tmp_path, "layers=all", "variants=[olora,milora]"))
    counts = [tuple(map(int, match.groups())) for note in notes if (match := re.match(r"\[(\d+)/(\d+)\]", note))]
    assert counts == [(n, 12) for n in range(1, 13)] + [(n, 12) for n in range(9, 13)]
    assert not any("-" in note for note in notes)  # no negative time left


def test_adapters_of_another_kind_follow_lora(tmp_path, monkeypatch):
    """The real solver: GraLoRA is measured where LoRA is, and again where another variant lets LoRA grow."""
    monkeypatch.setattr(rounds, "FIRST_SAMPLES", 4)
    run(study(tmp_path, "variants=[gralora,olora]", "hessian.precision=30"))
    assert {record["sequences"] for record in by_variant(tmp_path).values()} == {8}
    count_samples = samples_wanted
    monkeypatch.setattr(rounds, "samples_wanted", lambda record, precision: max(count_samples(record, precision), 12))
    run(study(tmp_path, "variants=[olora]", "hessian.precision=30"))
    records = by_variant(tmp_path)
    assert {name: record["sequences"] for name, record in records.items()} == dict.fromkeys(("lora", "gralora", "olora"), 16)
    assert records["gralora"]["ratio"]["value"] == pytest.approx(
        records["gralora"]["lambda_max"] / records["lora"]["lambda_max"], 1e-2
    )


def test_samples_wanted():
    def record(value, reach, earlier):
        ratio = {"value": value, "low": value * math.exp(-reach), "high": value * math.exp(reach)}
        return {"sequences": 32, "ratio": ratio, "earlier": earlier and {"sequences": 16, "ratio": earlier}}

    assert samples_wanted(record(4.0, 0.2, 4.0), 0.1) == pytest.approx(32 * (0.2 / math.log(1.1)) ** 2)
    assert samples_wanted(record(4.0, 0.01, 4.3), 0.1) <= 32
    assert samples_wanted(record(4.0, 0.01, 4.5), 0.1) > 32
    assert samples_wanted(record(4.0, 0.01, 3.5), 0.1) > 32
    assert samples_wanted(record(4.0, 0.01, None), 0.1) > 32
    assert samples_wanted({"sequences": 32, "ratio": None}, 0.1) == math.inf


def test_layers_until_the_medians_suffice(tmp_path, solver, monkeypatch):
    monkeypatch.setattr(run_module, "medians_suffice", lambda study, variants, layers: len(layers) == 3)
    records = run(study(tmp_path, "layers=auto", "variants=[pissa]"))
    assert sorted({record["layer"] for record in records}) == [0, 1, 3]


@pytest.mark.parametrize(
    ("ratios", "suffice"),
    [
        ([2.0, 2.1, 2.05, 2.02, 2.15, 2.1, 2.01], True),
        ([2.0, 2.1, 2.05, 2.02, 2.15, 2.1, 2.5], False),  # the interval of seven reaches from the least to the largest
        ([2.0, 2.1, 2.05, 2.02, 2.15, 2.1, 2.3, 2.6, 2.9], False),
        ([1.0, 2.1, 2.05, 2.02, 2.15, 2.1, 2.06, 2.08, 3.0], True),  # that of nine leaves both out
        ([2.0] * 5, False),
        ([2.0] * 5 + [None, None], False),
        ([2.0] * 6 + [None], True),
    ],
)
def test_medians_suffice(ratios, suffice):
    def record(block):
        value = 1.0 if block.variant == "lora" else ratios[block.place.layer]
        return {"ratio": value and {"value": value}}

    places = [Place(str(layer), layer, "q_proj") for layer in range(len(ratios))]
    fake = SimpleNamespace(places=places, record=record, hessian=SimpleNamespace(precision=0.1))
    assert medians_suffice(fake, ["lora", "pissa"], range(len(ratios))) is suffice
    assert medians_suffice(fake, ["lora"], [])
    assert not medians_suffice(fake, ["lora", "pissa"], [0])
