"""What raises in a contributor's own file: the line, the record and the terminal name the innermost place in that file."""

import json
import pickle
import shlex
import sys

import pytest

from lorabench.__main__ import main
from lorabench.cells.session import current
from lorabench.contributed import config_dir_flag, let_import, own_frames, reason
from lorabench.errors import Failed
from sweeps.sweepers import jobs

SMALL = ["train_samples=16", "task.test_samples=2", "task.validation_samples=2"]
HEAD = "from dataclasses import dataclass\n\n"
VARIANT = (
    HEAD
    + "from lorabench.variants.lora import LoRA\n\n\nclass Mine(LoRA):\n    def optimizer(self, model, lr, **adamw):\n        return rates(adamw)\n\n\n"
    + "def rates(adamw):\n    return adamw['x']\n"
)
CHECK = (
    HEAD
    + "from lorabench.variants.lora import LoRA\n\n\nclass Mine(LoRA):\n    def check(self, shapes):\n        return shapes['x']\n"
)
MADE = (
    HEAD
    + "from lorabench.variants.lora import LoRA\n\n\n@dataclass(kw_only=True)\nclass Mine(LoRA):\n    def __post_init__(self):\n        return {}['x']\n"
)
TASK = (
    HEAD
    + "from lorabench.tasks.arithmetic import Arithmetic\n\n\nclass Mine(Arithmetic):\n    def score(self, example, completion):\n        return 1.0 if completion == self.reference(example) else {}['x']\n"
)
PROBE = (
    HEAD
    + "from lorabench.probes.none import NoProbe\n\n\nclass Mine(NoProbe):\n    def measure(self, *arguments):\n        return {}['x']\n"
)
TRACKER = (
    HEAD
    + "from lorabench.trackers.base import Tracker\n\n\nclass Mine(Tracker):\n    def start(self, cell):\n        return {}['x']\n\n    def step(self, step, metrics): ...\n\n    def finish(self, record): ...\n"
)
GROUPS = ["variant", "task", "subset", "probe", "tracker", "evaluator"]
PARTS = {
    "variant": (VARIANT, "defaults: [lora]", "mine.py:12 in rates: KeyError: 'x'"),
    "task": (TASK, "defaults: [arithmetic]", "mine.py:8 in score: KeyError: 'x'"),
    "probe": (PROBE, "every: 1", "mine.py:8 in measure: KeyError: 'x'"),
}


@pytest.fixture
def ended(tmp_path, monkeypatch, capsys):
    """A function that runs a cell of a part of this code in this process, and gives the exit code and what it printed."""

    def run(group: str, code: str, yaml: str, *words: str) -> tuple[int, str]:
        (tmp_path / "own" / group).mkdir(parents=True)
        (tmp_path / "own" / "mine.py").write_text(code)
        (tmp_path / "own" / group / "mine.yaml").write_text(
            yaml if yaml == SEARCH else f"{yaml}\n_target_: mine.Mine\nname: mine\n"
        )
        monkeypatch.setattr(sys, "path", list(sys.path))
        for name in ("HYDRA_FULL_ERROR", "PYTHONPATH", "LORABENCH_CONFIG_DIR"):  # which the command sets
            monkeypatch.setenv(name, "")
        given = [f"{group}=mine", f"output_dir={tmp_path / 'runs'}", "--config-dir", str(tmp_path / "own"), *SMALL]
        monkeypatch.setattr(sys, "argv", ["lorabench", *given, *words])
        try:
            main()
            code = 0
        except SystemExit as end:
            code = end.code
        return code, capsys.readouterr().err

    yield run
    sys.modules.pop("mine", None)
    current.cache_clear()  # it keeps parts of this class


@pytest.mark.parametrize("group", PARTS)
def test_a_cell_that_fails_prints_the_line_and_the_frames_of_that_file(ended, tmp_path, group):
    code, yaml, line = PARTS[group]
    status, printed = ended(group, code, yaml)
    assert status == 1
    lines = [text for text in printed.splitlines() if "evaluating" not in text]
    assert lines[0] == f"lorabench: {line}"
    assert len(lines) <= 7 and all("mine.py" in text for text in lines if text.startswith("  File"))
    [record] = [json.loads(file.read_text()) for file in tmp_path.glob("runs/*/record.json")]
    assert (record["status"], record["error"]) == ("failed", line)
    assert "run.py" in record["traceback"]


def test_a_grid_names_the_place_of_each_failure(ended, tmp_path):
    code, yaml, line = PARTS["variant"]
    status, printed = ended("variant", code, yaml, "lr=1e-3,2e-3", "-m")
    failed = [text for text in printed.splitlines() if text.startswith("failed: ")]
    assert status == 1 and len(failed) == 2
    assert all(text.endswith(f": {line}") for text in failed) and " lr=0.001" in failed[0]


@pytest.mark.parametrize("words", [[], ["plan=true"], ["lr=1e-3,2e-3", "-m"]], ids=["cell", "plan", "grid"])
def test_a_check_that_fails_is_named_too(ended, words):
    status, printed = ended("variant", CHECK, "defaults: [lora]", *words)
    assert status == 1 and printed.startswith("lorabench: mine.py:8 in check: KeyError: 'x'\n")
    assert len(printed.splitlines()) <= 4


def test_a_class_that_cannot_be_made_is_one_line(ended):
    status, printed = ended("variant", MADE, "defaults: [lora]")
    assert (status, printed) == (
        2,
        "lorabench: variant=mine: cannot build mine.Mine: mine.py:9 in __post_init__: KeyError: 'x'\n",
    )


@pytest.mark.parametrize(
    ("code", "line"),
    [
        ("import nowhere\n", "mine.py:1: ModuleNotFoundError: No module named 'nowhere'"),
        ("x = = 1\n", "mine.py:1: SyntaxError: "),
    ],
)
def test_a_file_that_cannot_be_imported_is_one_line(ended, code, line):
    status, printed = ended("variant", code, "defaults: [lora]")
    assert status == 2 and len(printed.splitlines()) == 1
    assert printed.startswith(f"lorabench: variant=mine: cannot import mine.Mine ({line}")


def test_a_tracker_that_fails_is_named_and_the_cell_goes_on(ended):
    status, printed = ended("tracker", TRACKER, "")
    assert status == 0 and "tracker=mine: mine.py:8 in start: KeyError: 'x'; " in printed


LEAVES = (
    HEAD
    + "from lorabench.variants.lora import LoRA\n\n\nclass Mine(LoRA):\n    def optimizer(self, model, lr, **adamw):\n"
    + "        if lr < 2e-3:\n            BODY\n        return super().optimizer(model, lr, **adamw)\n"
)
METHOD = "from sweeps.search.base import Search\n\n\nclass Mine(Search):\n    def ask(self, history):\n        BODY\n"
SEARCH = "defaults: [search]\nname: mine\nmethod: {_target_: mine.Mine, _partial_: true}"
FAULTS = {"return None": ("Mine.optimizer() returned None; it must return ", 7), "raise SystemExit(0)": ("SystemExit: 0", 9)}


@pytest.mark.parametrize("body", FAULTS)
@pytest.mark.parametrize("words", [["lr=1e-3"], ["lr=1e-3,2e-3", "-m"]], ids=["cell", "grid"])
def test_a_cell_of_a_faulty_class_is_not_complete_and_the_next_one_is(ended, tmp_path, body, words):
    code, printed = ended("variant", LEAVES.replace("BODY", body), "defaults: [lora]", *words)
    text, line = FAULTS[body]
    assert code == 1 and f": mine.py:{line} in optimizer: {text}" in printed and "Traceback" not in printed
    records = [json.loads(file.read_text()) for file in tmp_path.glob("runs/*/record.json")]
    assert {record["config"]["lr"]: record["status"] for record in records} == {
        lr: status for lr, status in ((1e-3, "failed"), (2e-3, "complete")) if lr == 1e-3 or "-m" in words
    }


@pytest.mark.parametrize("body", ["return None", "raise SystemExit(0)", "return {}['x']"])
def test_a_faulty_search_method_is_one_line(ended, body):
    words = ["lr=1e-3,2e-3,3e-3", "hydra.sweeper.budget=2", "hydra.sweeper.initial=1", "-m"]
    status, printed = ended("hydra/sweeper", METHOD.replace("BODY", body), SEARCH, *words)
    [line] = [text for text in printed.splitlines() if text.startswith("lorabench: ")]
    assert status == 1 and line.startswith(f"lorabench: mine.py:{5 if 'None' in body else 6} in ask: "), printed
    assert "Traceback" not in printed


@pytest.mark.parametrize(
    ("group", "words"),
    [(group, []) for group in GROUPS] + [(group, ["lr=1e-3,2e-3", "-m"]) for group in (*GROUPS, "hydra/sweeper")],
    ids=lambda of: of if isinstance(of, str) else "grid" if of else "cell",
)
@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("class Mine(dict): ...\n", " is no "),
        ("class Other: ...\n", "Mine"),
        ("import nowhere\n", "mine.py:1: ModuleNotFoundError: No module named 'nowhere'"),
        ("x = 1\nraise ValueError('y')\n", "mine.py:2: ValueError: y"),
        ("x = 1\nraise SystemExit(0)\n", "mine.py:2: SystemExit: 0"),
        ("x = = 1\n", "mine.py:1: SyntaxError: invalid syntax"),
    ],
    ids=["kind", "name", "import", "raises", "exits", "syntax"],
)
def test_a_class_that_is_none_is_one_line(ended, group, words, code, text):
    yaml = {"hydra/sweeper": SEARCH, "variant": "defaults: [lora]", "task": "defaults: [arithmetic]", "probe": "every: 1"}
    status, printed = ended(group, code, yaml.get(group, ""), *words)
    assert status == 2 and text in printed and len(printed.splitlines()) == 1, printed


def test_what_fails_elsewhere_has_no_place():
    with pytest.raises(ValueError, match="Expecting") as caught:
        json.loads("{")
    error = caught.value
    assert reason(error).startswith("test_contributed_failures.py:")
    assert [frame.name for frame in own_frames(error)] == ["test_what_fails_elsewhere_has_no_place"]
    error.with_traceback(error.__traceback__.tb_next)  # of the library alone
    assert own_frames(error) == [] and reason(error).startswith("JSONDecodeError: Expecting")


def test_the_line_reaches_a_sweep_through_another_process():
    job = type("Job", (), {"_return_value": pickle.loads(pickle.dumps(Failed("mine.py:1: KeyError: 'x'")))})
    assert jobs.reason(job) == "mine.py:1: KeyError: 'x'"


def test_a_command_to_type_ends_in_the_folder_that_was_given(tmp_path, monkeypatch):
    folder = tmp_path / "my own (1)"
    folder.mkdir()
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in ("PYTHONPATH", "LORABENCH_CONFIG_DIR"):  # which it sets
        monkeypatch.setenv(name, "")
    let_import(["--config-dir", str(folder)])
    assert shlex.split(config_dir_flag()) == ["--config-dir", str(folder)]
    let_import([])
    assert config_dir_flag() == ""
