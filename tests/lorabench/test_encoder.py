"""The frozen language model of a search: what it is called by, and that a plan does not fetch it."""

import subprocess
import sys

import pytest

from lorabench.encoder import Frozen
from lorabench.errors import UserError


@pytest.mark.parametrize("name", ["OWNER/NAME", "smollm", "OWNER/NAME@", None])
def test_another_name_is_one_line_with_those_that_there_are(name):
    with pytest.raises(UserError, match=rf"encoder {name} is none of gemma-3-1b, .*, tiny, nor OWNER/NAME@COMMIT"):
        Frozen(name).check()


def test_a_plan_fetches_no_encoder(tmp_path):
    search = ["hydra/sweeper=language_bo", "hydra.sweeper.method.encoder.model=nobody/nothing@0123", "hydra.sweeper.budget=1"]
    command = [sys.executable, "-m", "lorabench", *search, f"output_dir={tmp_path}", "lr=1e-3,2e-3", "-m"]
    plan = subprocess.run([*command, "plan=true"], capture_output=True, text=True, timeout=300)
    assert plan.returncode == 0 and plan.stdout.startswith("1 cell, chosen"), plan.stderr
    run = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert run.returncode == 2
    assert run.stderr.splitlines()[-1].startswith(("lorabench: model=nobody/nothing: cannot get", "lorabench: the method"))
