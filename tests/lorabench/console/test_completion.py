"""Completion: what a line can go on with, and the scripts in the shells themselves."""

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from dataclasses import fields
from pathlib import Path

import pytest

from lorabench.console.candidates import candidates
from lorabench.console.commands import COMMANDS
from lorabench.console.completion import SCRIPTS
from lorabench.schema import CONF, ModelConfig, TrainerConfig

ROOT = Path(__file__).resolve().parents[3]


def of(line: str) -> list[str]:
    """Candidates for the last word of a line."""
    return candidates(line.split(" "))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("tab", ["table"]),
        ("sw", ["sweep"]),
        ("variant=pis", ["variant=pissa"]),
        ("run variant=pis", ["variant=pissa"]),
        ("run model=qw", ["model=qwen3-0.6b"]),
        ("run task=ma", ["task=math"]),
        ("run task=math task=co", ["task=code", "task=commonsense"]),
        ("sweep +exp", ["+experiment="]),
        ("sweep +experiment=tiny_l", ["+experiment=tiny_landscape", "+experiment=tiny_lrsweep"]),
        ("sweep hydra/sw", ["hydra/sweeper="]),
        ("sweep hydra/sweeper=lang", ["hydra/sweeper=language_bo", "hydra/sweeper=language_bo_paper"]),
        ("sweep hydra/sweeper=gp hydra.sweeper.bud", ["hydra.sweeper.budget="]),
        ("sweep hydra.sweeper.bud", []),  # of the grid, which has none
        ("sweep variant=lora,pis", ["variant=lora,pissa"]),
        ("sweep variant=lora,pissa,lora_f", ["variant=lora,pissa,lora_fa"]),
        ("run variant=lora,pis", []),  # a cell has one
        ("run -m variant=lora,pis", ["variant=lora,pissa"]),
        ("run var", ["variant=", "variant."]),
        ("run variant=lora var", ["variant."]),
        ("run batch", ["batch_size="]),
        ("run batch_size=8 batch", []),
        ("run trainer.max_g", ["trainer.max_grad_norm="]),
        ("run variant.alp", ["variant.alpha="]),
        ("run variant=peft variant.peft_t", ["variant.peft_type="]),
        ("run variant=dora variant.tar", ["variant.target_modules="]),  # of lora, from which it derives
        ("run task=peft_bench/c", [f"task=peft_bench/{name}" for name in ("cb", "codealpacapy", "cola", "conala", "copa")]),
        ("run task=peft_bench/sst2 task.sc", ["task.scorer="]),
        ("run task=math task.te", ["task.test_samples=", "task.test."]),
        ("run task=math task.test.gsm8k.p", ["task.test.gsm8k.path="]),
        ("run plan=", ["plan=true", "plan=false"]),
        ("run save_adapter=t", ["save_adapter=true"]),
        ("run --c", ["--cfg", "--config-dir"]),
        ("run --cfg j", ["job"]),
        ("run model.path=/tmp", []),  # a file
        ("run --config-dir ", []),
        ("hessian variants=lora,pis", ["variants=lora,pissa"]),
        ("hessian hessian.prec", ["hessian.precision="]),
        ("hessian mod", ["model=", "model."]),
        ("table runs --kind shar", ["sharpness"]),
        ("table runs --kind sharpness --form", ["--format"]),
        ("table runs --format late", ["latex"]),
        ("plot runs --kind lr", ["lr_curves"]),
        ("analysis exp", ["export"]),
        ("analysis export runs --col", ["--columns"]),
        ("search-bench --bud", ["--budget"]),
        ("evaluate res", ["rescore"]),
        ("new variant NAME --in", ["--into"]),
        ("completion ", list(SCRIPTS)),
        ("table ", []),  # a folder
        ("variants --", []),  # whose module imports torch
    ],
)  # fmt: skip
def test_a_line_goes_on_with(line, expected):
    assert of(line) == expected


def test_an_empty_line_has_all_commands_and_no_keys():
    assert of("") == [*COMMANDS, "--help", "--version"]


def test_all_choices_and_all_keys_are_there():
    for group in ("model", "task", "variant", "evaluator", "subset", "probe", "tracker"):
        named = (file.relative_to(CONF / group).with_suffix("").as_posix() for file in (CONF / group).rglob("*.yaml"))
        assert sorted(of(f"run {group}=")) == sorted(f"{group}={name}" for name in named)
    for group, schema in (("trainer", TrainerConfig), ("model", ModelConfig)):
        assert of(f"run {group}.") == [f"{group}.{field.name}=" for field in fields(schema)]


def test_ones_own_folder_counts(tmp_path):
    (tmp_path / "variant").mkdir()
    (tmp_path / "variant" / "gauss.yaml").write_text("defaults: [lora]\n_target_: gauss.Gauss\nname: gauss\nwidth: 3\n")
    (tmp_path / "variant" / "broken.yaml").write_text("a: [\n")
    assert of(f"run --config-dir {tmp_path} variant=gau") == ["variant=gauss"]
    assert of(f"run --config-dir={tmp_path} variant=gauss variant.wi") == ["variant.width="]
    assert of(f"run --config-dir={tmp_path} variant=gauss variant.alp") == ["variant.alpha="]
    assert of(f"run --config-dir={tmp_path} variant=broken variant.") == []


def test_completion_imports_nothing_heavy(python):
    code = (
        "import sys; from lorabench.__main__ import main; sys.argv[1:] = ['completion', 'query', 'table', 'runs', '--']\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print({'torch', 'transformers', 'datasets', 'peft'} & set(sys.modules))"
    )
    done = python("-c", code)
    assert done.stdout.splitlines()[-1] == "set()" and "--kind" in done.stdout, done.stderr


@pytest.fixture(scope="module")
def bin_folder(tmp_path_factory):
    """A folder for PATH with a ``lorabench`` that imports this checkout."""
    folder = tmp_path_factory.mktemp("bin")
    program = folder / "lorabench"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -c "from lorabench.__main__ import main; main()" "$@"\n')
    program.chmod(0o755)
    return folder


def environment(bin_folder):
    return os.environ | {"PATH": f"{bin_folder}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "TERM": "dumb"}


COMPREPLY = """
eval "$(lorabench completion bash)"
complete -p lorabench
reply() {
    COMP_LINE="$1"; COMP_POINT=${#1}; COMPREPLY=()
    _lorabench lorabench
    printf '%s|' "${COMPREPLY[@]}"; echo
}
reply "lorabench swe"
reply "lorabench sweep variant=pis"
reply "lorabench sweep variant=lora,pis"
reply "lorabench sweep +experiment=tiny_lr"
reply "lorabench run hydra/sweeper=no"
reply "lorabench run trainer.max_g"
reply "lorabench table runs --kind shar"
reply "lorabench run model.path=/etc/pass"
reply "lorabench completion "
COMP_WORDBREAKS="${COMP_WORDBREAKS//=/}"
reply "lorabench sweep variant=pis"
"""


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_bash_gets_what_it_puts_into_the_line(bin_folder):
    done = subprocess.run(
        ["bash", "--norc", "-c", COMPREPLY], capture_output=True, text=True, env=environment(bin_folder), timeout=300
    )
    lines = done.stdout.splitlines()
    assert lines[0] == "complete -o default -F _lorabench lorabench", done.stderr
    expected = ["sweep|", "pissa|", "lora,pissa|", "tiny_lrsweep|", "nomad|", "trainer.max_grad_norm=|", "sharpness|", "|"]
    assert lines[1:] == [*expected, "bash|zsh|fish|", "variant=pissa|"]


def typed(command: list[str], start: str, line: str, expected: str, bin_folder, seconds: float = 100) -> str:
    """What a terminal shows when a line, which ends in a tab, is typed into an interactive shell."""
    child, terminal = pty.fork()
    if child == 0:
        os.execvpe(command[0], command, environment(bin_folder))
    shown = ""

    def wait_for(text: str) -> None:
        nonlocal shown
        end = time.monotonic() + seconds
        while text not in shown and time.monotonic() < end:
            if select.select([terminal], [], [], 0.2)[0]:
                try:
                    shown += os.read(terminal, 65536).decode(errors="replace")
                except OSError:  # it ended
                    return

    try:
        os.write(terminal, f"{start}; echo rea''dy\n".encode())
        wait_for("ready\r\n")
        shown = ""
        os.write(terminal, line.encode())
        wait_for(expected)
        return shown
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)
        os.close(terminal)


SHELLS = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], 'eval "$(lorabench completion bash)"'),
    "zsh": (["zsh", "-f", "-i"], 'autoload -U compinit && compinit -u -D && eval "$(lorabench completion zsh)"'),
    "fish": (["fish", "--no-config", "-i"], "lorabench completion fish | source"),
}


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    ("line", "expected"),
    [("lorabench sweep variant=lora,pis\t", "variant=lora,pissa"), ("lorabench swe\t", "lorabench sweep")],
    ids=["choice", "command"],
)
def test_a_tab_completes_in_the_shell_itself(shell, line, expected, bin_folder):
    command, start = SHELLS[shell]
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    assert expected in typed(command, start, line, expected, bin_folder)
