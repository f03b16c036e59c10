"""What a command line of ``lorabench tune`` fixes, and what it leaves to be answered."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf

from lorabench.contributed import config_dirs, without_config_dirs
from lorabench.errors import UserError
from lorabench.files import digest
from lorabench.schema import CONF

if TYPE_CHECKING:
    from lorabench.cells.cell import Cell

SETTINGS: Any = OmegaConf.to_container(OmegaConf.load(CONF / "tune.yaml"))
"""What is taken where the command line says nothing else, with its sources."""

OF_TUNE = {
    "seed": "--seeds=N says how many seeds the finalists get",
    "save_adapter": "the command that tune ends with trains the adapter",
    "plan": "lorabench plan shows what cells take",
    "plan_device": "lorabench plan forecasts for another device",
    "train_fraction": "tune compares methods on all of train_samples; give fewer of those",
    "when_busy": "a search waits for what another process trains",
}
"""Keys that tune sets itself."""


@dataclass(frozen=True)
class Question:
    """A model and data, and what to choose for them.

    Attributes:
        words: fixed for all cells, as overrides; flags for a folder of configs too.
        given: values by key of what has several, and of variant, lr and rank where they are given.
    """

    words: tuple[str, ...]
    given: dict[str, tuple[str, ...]]

    @classmethod
    def of(cls, arguments: Sequence[str]) -> "Question":
        """Read the user's words, where ``data=FILE`` stands for ``task=custom task.train=FILE``.

        Raises:
            UserError: words that cannot be.
        """
        from hydra.core.override_parser.overrides_parser import OverridesParser

        from lorabench.terminal.quoting import with_home
        from lorabench.terminal.words import check_words

        folders = config_dirs(arguments)
        overrides = with_home(list(_with_data(without_config_dirs(arguments))))
        check_words(overrides, [CONF, *folders])
        words, given = [f"--config-dir={folder}" for folder in folders], {}
        for word, override in zip(overrides, OverridesParser.create().parse_overrides(overrides), strict=True):
            key = override.key_or_group
            if key in OF_TUNE:
                raise UserError(f"{key} is tune's own: {OF_TUNE[key]}")
            if key == "hydra" or key.startswith(("hydra/", "hydra.")):
                raise UserError(f"{word}: tune chooses its own search; with another one, use lorabench sweep {word}")
            if override.is_sweep_override() and not _is_tuned(key):
                raise UserError(f"{word}: tune chooses settings of a method and its training; give one {key}")
            if override.is_sweep_override():
                if not override.is_discrete_sweep():
                    raise UserError(f"{key} needs a list of values, not an interval; write {key}=1e-4,1e-3")
                given[key] = tuple(str(value) for value in override.sweep_string_iterator())
                if listed := next((value for value in given[key] if set(value) & set("[]{},=")), None):
                    raise UserError(f"{key}={listed} is a list, which tune cannot choose; give one {key}")
            elif key in ("variant", "lr", "rank"):
                given[key] = (override.get_value_element_as_str(),)
            else:
                words.append(word)
        if "lr" in given:
            given["lr"] = tuple(map(_rate, given["lr"]))
        return cls(tuple(words), given)

    @cached_property
    def first(self) -> "Cell":
        """A cell of it, by the first value of each axis."""
        from hydra import compose, initialize_config_dir

        from lorabench import schema
        from lorabench.cells.cell import Cell
        from lorabench.cells.session import current

        schema.register()
        overrides = [word for word in self.words if not word.startswith("--")]
        chosen = [f"{key}={values[0]}" for key, values in self.axes([float(SETTINGS["default"]["lr"])]).items()]
        places = f"hydra.searchpath={[f'file://{folder}' for folder in config_dirs(self.words)]}"
        with initialize_config_dir(str(CONF), version_base="1.3"):
            return Cell.of(compose("config", [*overrides, *chosen, places]), current())

    @property
    def digest(self) -> str:
        """Of what decides the results of all its cells: model, data, trainer, and each setting that is not tuned."""
        tuned = {"variant", "lr", "rank", "seed", *(key.partition(".")[0] for key in self.given)}
        return digest({key: value for key, value in self.first.identity.items() if key not in tuned})

    @cached_property
    def folder(self) -> Path:
        """Where all of it goes: output_dir where that is given, else a folder that is called by model and task."""
        if any(word.startswith("output_dir=") for word in self.words):
            return Path(self.first.settings.output_dir)
        return Path("tune") / f"{self.first.model.name}-{self.first.task.name}".replace("/", "-")

    @property
    def cell_words(self) -> list[str]:
        """What all cells have in common, but for their folder."""
        return [word for word in self.words if not word.startswith("output_dir=")]

    def axes(self, rates: Sequence[float]) -> dict[str, tuple[str, ...]]:
        """The values of everything that is chosen; learning rates are these unless the user gave some."""
        proposed = {key: tuple(map(str, SETTINGS[key])) for key in ("variant", "rank")} | {"lr": tuple(map(number, rates))}
        return proposed | self.given

    @property
    def default(self) -> dict[str, str]:
        """LoRA as it is trained where nobody tunes it; of other axes the first value."""
        others = {key: values[0] for key, values in self.given.items() if key not in ("variant", "lr", "rank")}
        rank, lr = str(SETTINGS["default"]["rank"]), number(float(SETTINGS["default"]["lr"]))
        ranks = self.given.get("rank", (rank,))
        return others | {"variant": "lora", "rank": rank if rank in ranks else ranks[0], "lr": lr}


def number(lr: float) -> str:
    """The fewest digits that are this number: ``6.3246e-4``."""
    mantissa, exponent = next(text for digits in range(17) if float(text := f"{lr:.{digits}e}") == lr).split("e")
    return f"{mantissa}e{int(exponent)}"


def _is_tuned(key: str) -> bool:
    """Whether values of a key are compared by one score: what is measured, and on which data, stays."""
    return key in ("variant", "lr", "rank", "batch_size", "epochs", "train_samples") or key.startswith(("variant.", "trainer."))


def _rate(text: str) -> str:
    try:
        lr = float(text)
        return number(lr) if 0 < lr < math.inf else text
    except ValueError:
        return text  # which the checks of a cell name


def size(axes: dict[str, tuple[str, ...]]) -> int:
    """How many candidates there are."""
    return math.prod(map(len, axes.values()))


def _with_data(words: Sequence[str]) -> Iterator[str]:
    for word in words:
        if word.startswith("data="):
            if any(other.startswith("task=") for other in words):
                raise UserError(f"{word} and task=… are both data; give one")
            yield from ("task=custom", f"task.train={word.removeprefix('data=')}")
        else:
            yield word
