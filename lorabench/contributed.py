"""Classes and configs from outside the package: what ``--config-dir`` names, and the working folder."""

import inspect
import itertools
import os
import shlex
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

from lorabench.errors import UserError

FLAGS = ("--config-dir", "-cd")
GIVEN = "LORABENCH_CONFIG_DIR"
"""Environment variable by which a process and the jobs that it launches know what ``--config-dir`` was."""

PACKAGE = Path(__file__).resolve().parent
OURS = tuple(PACKAGE.parent / name for name in ("lorabench", "hessian", "sweeps", "analysis", "hydra_plugins"))


BESIDE = ("hessian", "sweeps", "analysis")
"""Packages beside this one; ``hydra_plugins`` is a namespace, of which others have parts."""


class OwnFault(Exception):
    """What a contributor's class did wrong without raising an exception there; its text is the line.

    Attributes:
        frame: the method that is to be mended.
    """

    def __init__(self, text: str, frame: traceback.FrameSummary):
        """As `Exception`, with the place."""
        super().__init__(text)
        self.frame = frame


def config_dirs(words: Sequence[str]) -> list[Path]:
    """The folders that a command line names.

    >>> [folder.name for folder in config_dirs(["lr=1e-3", "--config-dir", "mine", "--config-dir=ours"])]
    ['mine', 'ours']

    Raises:
        UserError: a flag without a folder.
    """
    if words and words[-1] in FLAGS:
        raise UserError(f"{words[-1]} needs a folder: {words[-1]} DIR")
    behind = [word for flag, word in itertools.pairwise(words) if flag in FLAGS]
    joined = [word.partition("=")[2] for word in words if word.startswith("--config-dir=")]
    return [Path(folder).expanduser().resolve() for folder in [*behind, *joined]]


def without_config_dirs(words: Sequence[str]) -> list[str]:
    """The other words of a command line."""
    behind = {i + 1 for i, word in enumerate(words) if word in FLAGS}
    return [w for i, w in enumerate(words) if i not in behind and w not in FLAGS and not w.startswith("--config-dir=")]


class _Ours(MetaPathFinder):
    """Finds the packages beside this one, whatever of these names lies in the working folder or on the path."""

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """The package of a name of ours, None for any other."""
        return PathFinder.find_spec(fullname, [str(PACKAGE.parent)]) if path is None and fullname in BESIDE else None


def own_modules_last(folders: Sequence[Path] = ()) -> None:
    """Let Python import what lies in folders of the user's own, where no installed package has that name.

    ``python -m`` puts the working folder first on its path, where a file such as ``datasets.py``, or a copy of ``peft``, would
    replace an installed package in silence; a console script does not have it at all. Both have it last here.
    """
    if not any(isinstance(finder, _Ours) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Ours())
    last = [str(folder) for folder in folders if folder != PACKAGE.parent]
    sys.path[:] = [*(place for place in sys.path if os.path.abspath(place) not in last), *dict.fromkeys(last)]


def let_import(words: Sequence[str]) -> None:
    """Let Python import what lies beside the configs, here and in the jobs of a launcher, and in the working folder.

    Raises:
        UserError: no such folder, or several.
    """
    given = [str(folder) for folder in config_dirs(words)]
    if len(given) > 1:
        raise UserError(f"--config-dir is given {len(given)} times, and Hydra takes one; put your files into one folder")
    for folder in given:
        if not Path(folder).is_dir():
            raise UserError(f"--config-dir {folder} does not exist; give the folder that holds your variant/, task/ … yamls")
    own_modules_last([*map(Path, given), Path.cwd()])
    if given:
        before = [part for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part]
        os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys([*given, *before]))
        os.environ[GIVEN] = given[0]
    else:
        os.environ.pop(GIVEN, None)


def hidden_by(target: str) -> str:
    """What to do where a module of the user's own has the name of another one; nothing where it has not.

    Args:
        target: that could not be imported, MODULE.CLASS.
    """
    name = target.partition(".")[0]
    places = [place for folder in (given_folder(), Path.cwd()) if folder for place in (folder / f"{name}.py", folder / name)]
    own = next((place for place in places if place.is_file() or (place / "__init__.py").is_file()), None)
    imported = sys.modules.get(name)
    if own is None or imported is None:
        return ""
    file = getattr(imported, "__file__", None)
    if file and Path(file).resolve() in (own.resolve(), own.resolve() / "__init__.py"):
        return ""
    return f"; Python has another {name}{f', {file}' if file else ''}: give {own} another name"


def given_folder() -> Path | None:
    """The folder of ``--config-dir``, None where none was given."""
    return Path(folder) if (folder := os.environ.get(GIVEN)) else None


def config_dir_flag() -> str:
    """What a command for the user ends in: `` --config-dir FOLDER`` as one types it, or nothing where none was given."""
    return f" --config-dir {shlex.quote(folder)}" if (folder := os.environ.get(GIVEN)) else ""


@cache
def is_library(file: Path) -> bool:
    """Whether a source file is Python's own, of an installed package, or of this one."""
    places = {Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    return file.is_relative_to(PACKAGE) or any(file.is_relative_to(place) for place in places)


def is_own(cls: type) -> bool:
    """Whether a class is of a contributor's own file."""
    try:
        return _is_own(inspect.getfile(cls))
    except (TypeError, OSError):  # of C, or of no file
        return False


def place_of(function: Callable[..., object]) -> traceback.FrameSummary:
    """Where a function is defined."""
    code = inspect.unwrap(function).__code__
    return traceback.FrameSummary(code.co_filename, code.co_firstlineno, function.__name__)


def own_frames(error: BaseException) -> list[traceback.FrameSummary]:
    """The frames of a contributor's own files, the innermost last, of the first exception of the chain that has some."""
    return next(filter(None, map(_frames, _chain(error))), [])


def exits_itself(stop: SystemExit) -> bool:
    """Whether a contributor's own file has ended the process, and not what handled an exception of it."""
    return bool(_frames(stop))


def reason(error: BaseException) -> str:
    """An exception in a line, with the innermost place in a contributor's own file where it has one.

    ``loraplus.py:31 in optimizer: KeyError: 'x'``
    """
    for link in _chain(error):
        if isinstance(link, SyntaxError) and link.filename and _is_own(link.filename):
            return f"{Path(link.filename).name}:{link.lineno}: {type(link).__name__}: {link.msg}"
        if frames := _frames(link):
            last = frames[-1]
            where = "" if last.name == "<module>" else f" in {last.name}"
            return f"{Path(last.filename).name}:{last.lineno}{where}: {_line(link)}"
    return _line(error)


def _frames(error: BaseException) -> list[traceback.FrameSummary]:
    """Those of a contributor's own files; of a fault that was found afterwards (`OwnFault`, or one of `sweeps`), its place."""
    frame = getattr(error, "frame", None)
    frames = [frame] if isinstance(frame, traceback.FrameSummary) else traceback.extract_tb(error.__traceback__)
    return [frame for frame in frames if _is_own(frame.filename)]


def _line(error: BaseException) -> str:
    text = str(error) if hasattr(error, "frame") else f"{type(error).__name__}: {error}"  # see ``_frames``
    return text.splitlines()[0]


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The exception, and those that it was raised from or while handling."""
    link: BaseException | None = error
    while link is not None:
        yield link
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)


def _is_own(name: str) -> bool:
    if name.startswith("<"):  # made at run time, as a dataclass's __init__
        return False
    file = Path(name).resolve()
    return not is_library(file) and not any(file.is_relative_to(folder) for folder in OURS)
