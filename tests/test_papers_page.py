"""docs/papers.md and docs/language_bo.md: every override that stands there composes, and says what the page says."""

import re

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from hessian.study.schema import register
from lorabench.schema import CONF

DOCS = CONF.parent / "docs"
WORD = re.compile(r"[+]?[a-z][\w./@]*=[^\s=`]+")


def overrides():
    """(config, words) of each code span that consists of KEY=VALUE alone; those of the Hessian's section are of its config."""
    spans = []
    for page in ("papers.md", "language_bo.md"):
        config = "config"
        for line in (DOCS / page).read_text().splitlines():
            if line.startswith("## "):
                config = "hessian" if line.startswith("## Hessian") else "config"
            for span in re.findall(r"`([^`]+)`", line):
                if all(map(WORD.fullmatch, span.split())) and "NAME" not in span and "COMMIT" not in span:
                    spans.append((config, tuple(span.split())))
    return sorted(set(spans))


def composed(config, words):
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose(config, list(words), return_hydra_config=True)


def test_there_are_such():
    assert len(overrides()) > 20 and {config for config, _ in overrides()} == {"config", "hessian"}


@pytest.mark.parametrize(("config", "words"), overrides(), ids=lambda part: part if isinstance(part, str) else " ".join(part))
def test_it_composes(config, words):
    cfg = composed(config, words)
    for word in words:
        key, _, value = word.removeprefix("+").partition("=")
        chosen = cfg.hydra.runtime.choices.get(key)
        if chosen is None:
            selected = OmegaConf.select(cfg, key)
            assert selected == OmegaConf.create({"value": OmegaConf.from_dotlist([f"v={value}"]).v}).value, word
        else:
            assert chosen == value


def test_the_scale_of_the_papers_randlora_is_320():
    node = composed("config", ["variant=randlora", "variant.basis_rank=2", "variant.basis_scale=320"]).variant
    assert node.basis_scale * node.basis_rank == 640  # alpha of paper 1's script
    assert composed("config", ["variant=randlora"]).variant.basis_scale == 640 / 32  # of PEFT


@pytest.mark.parametrize("name", ["gemma_code_rank", "llama7b_code"])
def test_code_is_trained_on_all_rows_as_in_paper_1(name):
    cfg = composed("config", [f"+experiment={name}"])
    assert cfg.train_samples is None and cfg.task.train.rows == 104_848
