"""``python -m hessian``: the largest Hessian eigenvalue of every adapter block, for many variants at once."""

import shlex
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lorabench.contributed import config_dirs, let_import, without_config_dirs
from lorabench.errors import UserError
from lorabench.schema import CONF
from lorabench.terminal.entry import command

if TYPE_CHECKING:
    from omegaconf import DictConfig

MOVED = {
    "report": "python -m analysis table FOLDER --kind sharpness",
    "advise": "python -m analysis advise FOLDER --lr LOW,HIGH",
}
"""Commands that were here, by what they are now."""

OF_THE_CELL = ("model", "task", "trainer", "variants", "rank", "seed", "data_seed")
"""Keys that hessian.checkpoint decides."""

USAGE = """\
Sharpness of LoRA variants: λmax and λmin of the Hessian of the fine-tuning loss, for the adapter of one matrix at a time.
Leaves a record for every block in output_dir, for python -m analysis to show; what has its record is not computed again.

  python -m hessian variants=lora,pissa matrices=q_proj layers=0,2
  python -m hessian model=smollm2-135m task=math task.path=DATA rank=16 samples=auto layers=auto
  python -m analysis table runs/hessian --kind sharpness
  python -m analysis plot runs/hessian --kind sharpness_layers     # or sharpness_box, sharpness_samples
  python -m analysis advise runs/hessian --lr 1e-4,1e-3

Keys and defaults (conf/hessian.yaml; groups model, task and trainer as for python -m lorabench):

"""


def main(arguments: Sequence[str] | None = None, prog: str = "python -m hessian") -> None:
    """Run the command line."""
    from hessian.study.schema import Config

    words = list(sys.argv[1:] if arguments is None else arguments)
    with command("hessian", Config):
        try:
            _run(words, prog)
        except KeyboardInterrupt:
            raise KeyboardInterrupt("interrupted; the same command goes on after the blocks that have records") from None


def _run(words: list[str], prog: str) -> None:
    if {"-h", "--help"} & set(words[:1]):
        print(f"usage: {prog} [key=value ...]\n\n{USAGE}" + (CONF / "hessian.yaml").read_text(encoding="utf-8"), end="")
    elif words[:1] and words[0] in MOVED:
        raise UserError(f"{words[0]} is `{MOVED[words[0]]}` now")
    else:
        from lorabench.terminal.quoting import with_home

        _measure(with_home(words))


def _measure(words: list[str]) -> None:
    let_import(words)  # first, so that what lies here and is called analysis, say, is not what is imported next

    from hydra import initialize_config_dir
    from torch import OutOfMemoryError

    from hessian.study.run import run
    from hessian.study.schema import Config
    from hessian.study.study import Study
    from lorabench.cells.session import current
    from lorabench.terminal.bars import note
    from lorabench.terminal.words import check_words

    check_words(without_config_dirs(words), [CONF, *config_dirs(words)], Config, sweeps=False)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        study = Study(
            compose_config(without_config_dirs(words)), current(), [f"file://{folder}" for folder in config_dirs(words)]
        )
        unused = [word for word in words if study.trained and word.partition("=")[0].split(".")[0] in OF_THE_CELL]
        if unused:
            note(f"not used, since the cell of hessian.checkpoint has its own: {' '.join(unused)}")
        try:
            run(study)
        except OutOfMemoryError as error:
            raise UserError(
                "the GPU's memory is full; lower hessian.memory_gb or trainer.micro_batch_tokens (blocks with records are kept)"
            ) from error
    folder = study.settings.output_dir
    print(f"records: {folder}; python -m analysis table {shlex.quote(folder)} --kind sharpness shows them")


def compose_config(words: Sequence[str]) -> "DictConfig":
    """The config of a command line; ``layers=0,2`` means the list, since nothing is swept here."""
    from hydra import compose

    from hessian.study.schema import register

    register()
    for word in words:
        if "=" not in word:
            raise UserError(f"'{word}' is not key=value; see python -m hessian --help")
    listed = []
    for word in words:
        key, _, value = word.partition("=")
        several = key == "variants" or (key in ("matrices", "layers") and "," in value)
        listed.append(f"{key}=[{value}]" if several and not value.startswith("[") else word)
    return compose("hessian", listed)


if __name__ == "__main__":
    main()
