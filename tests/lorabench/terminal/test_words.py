"""Words that Hydra would take in another sense: one line, before anything is composed; what a user may mean passes."""

import sys

import pytest

from lorabench.__main__ import main
from lorabench.errors import UserError
from lorabench.schema import CONF
from lorabench.terminal.words import check_words

GROUPS = ["model", "task", "variant", "trainer", "evaluator", "probe", "subset"]
TWO = "# @package _global_\ndefaults:\n  - override /variant: [lora, pissa]\n"


@pytest.fixture
def ended(tmp_path, monkeypatch, capsys):
    """A function that runs the command line in this process, with configs in ``tmp_path``, and gives its code and its lines."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["lorabench", *words, "plan=true", "--config-dir", str(tmp_path)])
        monkeypatch.setattr(sys, "path", list(sys.path))
        monkeypatch.chdir(tmp_path)
        for name in ("HYDRA_FULL_ERROR", "PYTHONPATH"):  # which the command sets
            monkeypatch.setenv(name, "")
        with pytest.raises(SystemExit) as end:
            main()
        return end.value.code, capsys.readouterr().err

    return run


def line_of(*words, **of_command):
    """What is wrong with words, None where nothing is."""
    try:
        check_words(words, [CONF], **of_command)
    except UserError as error:
        return str(error)
    return None


@pytest.mark.parametrize("group", GROUPS)
def test_several_choices_as_one_are_refused_in_every_group(group):
    mixture = f"{group}=[a,b] is a list, of which Hydra would make one mixture; write"
    assert line_of(f"{group}=[a,b]") == f"{mixture} {group}=a,b -m to run each"
    assert line_of(f"{group}=[a,b]", sweeps=False) == f"{mixture} {group}=NAME for one of them"
    assert line_of(f"{group}=[a]").endswith(f"write {group}=NAME for one of them")
    assert line_of(f"{group}=c,[a,b]").endswith(f"write {group}=c,a,b -m to run each")
    no_choice = f"is no choice; write {group}=NAME, and its settings as {group}.KEY=VALUE"
    assert line_of(f"{group}={{}}") == f"{group}={{}} {no_choice}"


def test_no_grid_has_several_experiments_trackers_or_sweepers():
    assert "takes one experiment; write +experiment=NAME" in line_of("+experiment=a,b")
    assert line_of("+experiment=[a,b]").endswith("write +experiment=NAME for one of them")
    assert "takes one tracker; write tracker=NAME" in line_of("tracker=none,wandb")
    for choices in ("glob(*)", "choice(none,wandb)", "shuffle(none,wandb)"):
        assert "takes one experiment; write +experiment=NAME" in line_of(f"+experiment={choices}")
        assert "takes one tracker; write tracker=NAME" in line_of(f"tracker={choices}")
    assert "takes one tracker; write tracker=NAME" in line_of("+hydra.sweeper.params.tracker='none,wandb'")
    assert line_of("tracker=[none,wandb]").endswith("write tracker=NAME for one of them")
    assert line_of("hydra/sweeper=[grid,tpe]").endswith("write hydra/sweeper=NAME for one of them")
    assert line_of("evaluator@evaluator.engine=[hf,vllm]").endswith("write evaluator@evaluator.engine=hf,vllm -m to run each")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["lr=1", "seed=0", "lr=2"], "lr is given twice, lr=1 and lr=2; keep one, or write lr=1,2 -m to run each"),
        (["lr=1,2", "++lr=3"], "lr is given twice, lr=1,2 and ++lr=3; keep one, or write lr=1,2,3 -m to run each"),
        (["variant=a", "variant=b"], "variant is given twice, variant=a and variant=b; keep one, or write variant=a,b -m"),
        (["seed=0", "seed=0"], "seed is given twice, seed=0 and seed=0; keep one"),
        (["hydra.sweeper.params.lr=1", "lr=2"], "lr is given twice, hydra.sweeper.params.lr=1 and lr=2; keep one"),
        (
            ["hydra/sweeper=tpe", "hydra/sweeper=gp"],
            "hydra/sweeper is given twice, hydra/sweeper=tpe and hydra/sweeper=gp; keep",
        ),
        (["~variant.x", "+variant.x=1"], "variant.x is given twice"),
    ],
)
def test_a_key_that_is_given_twice_is_refused(words, line):
    assert line_of(*words).startswith(line)


@pytest.mark.parametrize(
    ("word", "line"),
    [
        ("hydra=null", "hydra.sweeper and hydra.launcher are chosen by hydra/sweeper=NAME"),
        ("hydra.sweeper=null", "hydra.sweeper and hydra.launcher are chosen by"),
        ("++hydra.launcher=x", "hydra.sweeper and hydra.launcher are chosen by"),
        ("hydra.run=null", "hydra.run=null: hydra.run holds settings; set them one by one, as hydra.run.KEY=VALUE"),
        ("hydra.job=3", "hydra.job=3: hydra.job holds settings"),
        ("~model", "model must have a value; leave ~model out"),
        ("~lr", "lr must have a value; leave ~lr out"),
        ("evaluator.name=x", "evaluator.name=x: this name stands in the yaml; choose another evaluator by evaluator=NAME"),
    ],
)
def test_a_key_that_stands_as_it_is_is_refused(word, line):
    assert line_of(word).startswith(line)


@pytest.mark.parametrize(
    "words",
    [
        ["variant=lora,pissa", "variant.rank=4", "lr=1e-3,2e-3", "task.train.files=[a,b]"],
        ["+experiment=tiny_lrsweep", "lr=1e-3", "~variant.dropout", "tracker=wandb"],
        ["evaluator=lm_eval", "evaluator@evaluator.engine=vllm", "evaluator.tasks=[a,b]"],
        ["hydra/sweeper=tpe", "hydra.sweeper.budget=3", "hydra.run.dir=x", "hydra.verbose=true", "hydra.sweeper.params.lr=1,2"],
        ["model.path=a=b", "=3", "lr", "model.name=mine", "variant.name=mine", "seed=range(0,3)", "lr=interval(1,2)"],
    ],
)
def test_what_a_user_may_mean_passes(words):
    assert line_of(*words) is None


def test_a_sweep_may_be_long_and_a_choice_may_not():
    names = [file.stem for file in (CONF / "variant").glob("*.yaml")] * 3
    assert line_of(f"variant={','.join(names)}") is None
    assert line_of("variant=glob(*)") is None
    assert line_of("+hydra.sweeper.params.variant=[lora,pissa]") is None  # a list of params: two cells
    for long in ("x" * 300, "lora," + "x" * 300, "[lora," + "x" * 300 + "]"):
        assert line_of(f"variant={long}").endswith("… is no key or choice; see --help")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["variant=[lora,pissa]"], "variant=[lora,pissa] is a list"),
        (["lr=1e-3", "lr=2e-3", "-m"], "lr is given twice"),
        (["x" * 5000 + "=1"], "xxxxxxxxxx"),
        (["model=" + "x" * 5000], "model=xxxxxxxxxx"),
        (["--resolve"], "--resolve goes with --cfg: --cfg job --resolve"),
        (["--experimental-rerun", "x"], "--experimental-rerun has no use here; the same command run again"),
        (["--config-name=foo"], "the command has one config"),
        (["-cp", "/x"], "the command has one config"),
        (["+experiment=two"], "variant is chosen as a list, of which Hydra makes one mixture; give one name in the yaml"),
    ],
)
def test_the_command_refuses_them_in_one_line(words, line, tmp_path, ended):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "two.yaml").write_text(TWO)
    code, printed = ended(*words)
    assert code == 2
    assert printed.startswith(f"lorabench: {line}")
    assert len(printed.splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["variant=mine"], "variant=[a,b] is no part: give keys with values in its yaml, or variant=NAME"),
        (["variant=bytes"], "{folder}/variant/bytes.yaml is not UTF-8; save it as UTF-8"),
        (["variant=empty"], "variant: its yaml has no _target_; name the class"),
        (
            ["variant._target_=null"],
            "variant=lora: _target_=null names no class; leave it as the yaml has it, or write MODULE.",
        ),
        (
            ["variant._target_=os.system"],
            "variant=lora: os.system is no Variant; derive it from lorabench.variants.base.Variant",
        ),
        (["variant=system", "+variant.command=touch called"], "variant: os.system is no Variant"),
        (["+trainer._target_=os.system"], "trainer._target_ is no setting, as trainer is no class of one's own; leave it out"),
        (
            ["+variant._partial_=true"],
            "variant=lora: lorabench.variants.lora.LoRA makes no Variant with these settings; leave _p",
        ),
        (["variant.rank=null"], "variant.rank=null is not rank=8, which it follows; leave it out and write rank=8"),
        (["variant.rank=true"], "variant.rank=true is not rank=8, which it follows; leave it out and write rank=8"),
        (["variant.rank=2.5"], "variant.rank=2.5 is not rank=8, which it follows; leave it out and write rank=8"),
        (["variant.rank=4"], "variant.rank=4 is not rank=8, which it follows; leave it out and write rank=4"),
        (
            ["variant.target_modules=[q_proj,q_proj]"],
            "variant.target_modules=[q_proj,q_proj] must be a list of different texts;",
        ),
        (["task.train.files=x"], "unknown key 'task.train.files'; task has: name, "),
        (
            ["task=math", "task.train.files=x"],
            "unknown key 'task.train.files'; available: hub, path, revision, rows, split; one ",
        ),
        (["variant=gralora", "variant.bloks=3"], "unknown key 'variant.bloks'; available: alpha, dropout, k, name,"),
    ],
)
def test_a_part_that_is_none_is_one_line(words, line, tmp_path, ended):
    (tmp_path / "variant").mkdir()
    (tmp_path / "variant" / "mine.yaml").write_text("- a\n- b\n")
    (tmp_path / "variant" / "bytes.yaml").write_bytes(b"name: \xff\xfe\n")
    (tmp_path / "variant" / "empty.yaml").write_text("")
    (tmp_path / "variant" / "system.yaml").write_text("_target_: os.system\n")
    code, printed = ended(*words)
    assert code == 2
    assert printed.startswith(f"lorabench: {line.format(folder=tmp_path)}")
    assert len(printed.splitlines()) == 1
    assert not (tmp_path / "called").exists()
