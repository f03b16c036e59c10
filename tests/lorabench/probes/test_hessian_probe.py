"""The probe of ``hessian``, from the command line: what it refuses before anything is trained, and what it measures."""

import pytest
from omegaconf import OmegaConf

from lorabench.cells.checks import check
from lorabench.cells.plan import preflight
from lorabench.cells.run import run
from lorabench.errors import UserError

SMALL = ["train_samples=24", "batch_size=8", "task.test_samples=2", "task.validation_samples=2", "lr=3e-3"]
PROBE = ["probe=hessian", "probe.every=1"]


@pytest.mark.parametrize("plan", ["true", "false"])
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["probe.every=0"], r"probe.every=0 must be a whole number of at least 1"),
        (["probe.every=2.5"], r"probe.every=2.5 must be a whole number"),
        (["probe.samples=1"], r"probe.samples=1 must be a whole number of at least 2"),
        (["probe.tol=0"], r"probe.tol=0 must be greater than 0"),
        (["probe.attention=flash"], r"probe.attention=flash has no second derivative.*; available: math, eager"),
        (["probe.matrices=qproj"], r"probe.matrices: .*'qproj'; did you mean 'q_proj'"),
        (["variant.target_modules=[k_proj]"], r"probe.matrices: no adapter on 'q_proj'; .*k_proj"),
        (["probe.matrices=[]"], r"probe.matrices=\[\] and .* name no block"),
        (["probe.layers=4"], r"probe.layers: the model has no layer 4; available: 0 … 3"),
        (["probe.layers=first"], r"probe.layers=first must be a list of whole numbers or a whole number or null$"),
        (["probe.layers=[]"], r"probe.layers=\[\] name no block"),
        (["model.dtype=bfloat16"], r"probe.*: second derivatives need float32, not bfloat16; use model.dtype=float32"),
        (["+probe.foo=1"], r"unknown key 'probe.foo'; available: attention, "),
    ],
)
def test_what_cannot_be_measured_is_refused_before_anything_is_trained(cell, words, message, plan):
    with pytest.raises(UserError, match=message) as raised:
        preflight([OmegaConf.create(cell(*PROBE, *words, f"plan={plan}").config)])
    assert "\n" not in str(raised.value)


def test_matrix_and_layer_need_no_list(cell):
    made = cell(*SMALL, *PROBE, "probe.every=3", "probe.matrices=k_proj", "probe.layers=3", "probe.samples=8", "probe.tol=0.1")
    check(made)
    run(made)
    rows = made.record()["sharpness"]
    assert [row["step"] for row in rows] == [0, 3]
    for row in rows:
        assert [block["name"] for block in row["blocks"]] == ["model.layers.3.self_attn.k_proj"]
        assert row["blocks"][0]["lambda_max"] > 0


def test_too_few_samples_are_one_line(cell):
    made = cell(*PROBE)
    with pytest.raises(UserError, match=r"fewer than two of the samples have a target token; raise probe\.samples"):
        made.probe.measure(None, made.variant, [], 0, made.trainer, 0)
