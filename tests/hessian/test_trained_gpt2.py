"""λmax of trained cells whose layers hold Wᵀ: along their training, and at their end from what they left."""

import shutil

import pytest
import torch
from hydra import compose, initialize_config_dir
from small_models import CONF, study_of
from transformers import AutoModelForCausalLM, GPT2Config

from hessian.study import schema
from hessian.study.run import run
from lorabench.cells.cell import Cell
from lorabench.cells.run import run as train_cell
from lorabench.cells.session import current
from lorabench.schema import PACKAGE


@pytest.fixture
def gpt2(tmp_path):
    """The folder of a small random GPT-2 with the embedded tokenizer."""
    folder = tmp_path / "gpt2"
    sizes = {"vocab_size": 512, "n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 512, "initializer_range": 0.2}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        AutoModelForCausalLM.from_config(GPT2Config(**sizes, bos_token_id=0, eos_token_id=0, pad_token_id=0)).save_pretrained(
            folder
        )
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(PACKAGE / "tiny" / "checkpoint" / name, folder)
    return folder


@pytest.mark.parametrize(("variant", "words"), [("pissa", []), ("relora", ["batch_size=4", "variant.restarts=1"])])
def test_along_training_and_at_its_end(variant, words, gpt2, tmp_path):
    schema.register()
    few = ["train_samples=16", "rank=2", "lr=2e-2", "task.validation_samples=2", "task.test_samples=2", f"model=path:{gpt2}"]
    probe = ["probe=hessian", "probe.every=1", "probe.layers=[1]", "probe.matrices=[mlp.c_proj]", "probe.samples=4"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        overrides = [*few, *probe, f"variant={variant}", *words, "save_adapter=true", f"output_dir={tmp_path / 'runs'}"]
        watched = Cell.of(compose("config", overrides), current())
    train_cell(watched)
    rows = watched.record()["sharpness"]
    given = f"hessian.checkpoint={watched.folder}"
    study = study_of(tmp_path / "hessian", given, "layers=[1]", "matrices=[mlp.c_proj]", "samples=4", "hessian.tol=1e-2")
    [at_end] = run(study)
    first, last = (row["blocks"][0]["lambda_max"] for row in (rows[0], rows[-1]))
    assert at_end["lambda_max"] == pytest.approx(last, rel=2e-2)
    assert abs(first / last - 1) > 1e-3  # training has moved it
