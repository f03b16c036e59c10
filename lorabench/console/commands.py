"""What commands there are, and the screens that say so; nothing heavy is imported for them."""

import textwrap
from dataclasses import dataclass
from pathlib import Path

from lorabench.errors import UserError, nearest
from lorabench.schema import CONF

WIDTH = 110


@dataclass(frozen=True)
class Command:
    """A command of the console script.

    Attributes:
        about: what it does, for the list of all.
        module: whose ``main(arguments, prog)`` it is; None of one that composes cells.
        words: what stands before the user's words.
        heavy: whether its module imports torch, and so is imported to run alone; others have a ``parser(prog, words)``.
    """

    about: str
    module: str | None = None
    words: tuple[str, ...] = ()
    heavy: bool = False


COMMANDS = {
    "run": Command("train and evaluate one cell"),
    "sweep": Command("train and evaluate a grid, or search in it", words=("-m",)),
    "tune": Command("answer which method, learning rate and rank, within a budget", "lorabench.tune.__main__"),
    "plan": Command("show what a run or a sweep would do, and do nothing", words=("plan=true", "-m")),
    "hessian": Command("measure the sharpness of adapter blocks", "hessian.__main__"),
    "table": Command("print a table, such as the peak of each variant", "analysis.__main__", ("table",)),
    "plot": Command("draw a figure, such as accuracy over the learning rate", "analysis.__main__", ("plot",)),
    "recommend": Command("say which method, learning rate and rank to use", "analysis.__main__", ("recommend",)),
    "report": Command("write everything as one HTML page", "analysis.__main__", ("report",)),
    "compare": Command("tell which cells of two sets of results differ beyond noise", "analysis.__main__", ("compare",)),
    "analysis": Command("answer the other questions about results (--help lists them)", "analysis.__main__"),
    "search-bench": Command("replay search methods on measured landscapes", "sweeps.bench.__main__"),
    "variants": Command(
        "list all variants for a model and a rank, with their costs", "lorabench.variants.__main__", heavy=True
    ),
    "tasks": Command("preview a task's examples as the model sees them", "lorabench.tasks.__main__", heavy=True),
    "evaluate": Command("score kept completions again, without a model", "lorabench.evaluate"),
    "verify": Command("train finished cells again, and compare the bits", "lorabench.verify.__main__"),
    "push": Command("put a saved adapter on the Hugging Face hub, with a model card", "lorabench.console.push"),
    "new": Command("write the files of a new variant", "lorabench.new"),
    "doctor": Command("check the installation, and say how to mend it", "lorabench.console.doctor"),
    "completion": Command("print the completion script of a shell", "lorabench.console.completion"),
}
"""By name, in the order in which they are listed."""

OF_CELLS = {
    "run": (
        "lorabench run [key=value ...]",
        """\
Train and evaluate one cell. Its record is runs/ID/record.json. A finished cell is never trained again, and the same command
goes on after an interruption.

  lorabench run variant=pissa lr=2e-3
  lorabench run model.path=DIR task=math rank=16 save_adapter=true
""",
    ),
    "sweep": (
        "lorabench sweep [key=value,value ...]",
        """\
Train and evaluate all combinations of the values; with hydra/sweeper=METHOD, search among them. Finished cells are kept.
A grid has a worker for each visible GPU; JOBS=N says how many in all, WORKERS_PER_GPU=2 how many on each (environment).

  lorabench sweep variant=lora,pissa lr=6e-4,2e-3,6e-3 seed=0,1,2
  lorabench sweep +experiment=tiny_lrsweep
  lorabench sweep hydra/sweeper=gp lr=6e-4,2e-3,6e-3 rank=4,8,16 hydra.sweeper.budget=5
""",
    ),
    "plan": (
        "lorabench plan [key=value,value ...]",
        """\
Show what `lorabench run` or `lorabench sweep` would do with these words: the cells, which of them are done, tokens,
memory and time. Nothing is trained.

  lorabench plan variant=lora,pissa lr=6e-4,2e-3,6e-3
  lorabench plan +experiment=gemma_math_lrsweep
""",
    ),
}
"""Usage and text of the commands that compose cells."""


def is_cells(word: str) -> bool:
    """Whether a command line whose first word this is composes cells, and so takes ``key=value``."""
    return word not in COMMANDS or COMMANDS[word].module is None


def check_command(word: str) -> None:
    """Check the first word of a command line that names no command; without any, it is empty.

    Raises:
        UserError: it is no key with a value, and no flag either.
    """
    if word and "=" not in word and not word.startswith(("-", "~")):
        raise UserError(f"'{word}' is no command, and not key=value; {nearest(word, COMMANDS)} (see lorabench --help)")


def overview() -> str:
    """The screen of all commands."""
    width = max(map(len, COMMANDS))
    listed = "\n".join(f"  {name:{width}}  {command.about}" for name, command in COMMANDS.items())
    return f"""\
usage: lorabench COMMAND ...

Which LoRA variant is really better on your model and task, once each one is tuned?

{listed}

lorabench COMMAND --help says more. Without a command, `lorabench key=value ...` is `lorabench run`.

  lorabench sweep variant=lora,pissa lr=6e-4,2e-3,6e-3
  lorabench table runs
  lorabench --version
"""


def screen(name: str) -> str:
    """The help of a command that composes cells."""
    usage, text = OF_CELLS[name]
    groups = ["model", "task", "variant", "evaluator", "subset", "probe", "tracker"]
    if name != "run":
        groups += ["hydra/sweeper", "experiment"]
    keys = textwrap.indent(top_level_keys(), "  ")
    chosen = "\n".join(_listed(f"{'+' * (group == 'experiment')}{group}=", choices(group)) for group in groups)
    more = "--cfg job, with `lorabench run`, shows the composed config; conf/ and docs/ explain every key."
    return f"usage: {usage}\n\n{text}\nKeys and defaults:\n{keys}\nGroups and their choices:\n{chosen}\n\n{more}\n"


def top_level_keys() -> str:
    """The lines of conf/config.yaml that set the keys of a cell, with their comments."""
    lines = (CONF / "config.yaml").read_text(encoding="utf-8").partition("- _self_\n")[2].partition("\nhydra:")[0]
    return "".join(f"{line}\n" for line in lines.splitlines() if line)


def choices(group: str, folders: tuple[Path, ...] = (CONF,)) -> list[str]:
    """Names of what a group can be in these folders; what only others are made of is left out."""
    roots = [folder / group for folder in folders]
    files = [(file, root) for root in roots for file in sorted(root.rglob("*.yaml"), key=lambda file: (len(file.parts), file))]
    whole = [(file, root) for file, root in files if "\nname: ???" not in file.read_text("utf-8", "replace")]
    return list(dict.fromkeys(file.relative_to(root).with_suffix("").as_posix() for file, root in whole))


def _listed(key: str, names: list[str]) -> str:
    shown = dict.fromkeys(f"{folder}/NAME" if name else folder for folder, _, name in (one.partition("/") for one in names))
    return textwrap.fill(
        ", ".join(shown), WIDTH, initial_indent=f"  {key:15} ", subsequent_indent=" " * 18, break_on_hyphens=False
    )
