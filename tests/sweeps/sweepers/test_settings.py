"""Settings of the sweepers: one line each."""

from functools import partial

import pytest
from omegaconf import OmegaConf

from sweeps.errors import SweepError
from sweeps.search.base import Search
from sweeps.search.random import Random
from sweeps.sweepers import settings
from sweeps.sweepers.grid import GridSweeper
from sweeps.sweepers.search import SearchSweeper


class Method(Search):
    def __init__(self, space, seed, encoder: Search, text: str = "lora", token: bool = True, steps: int = 3, rate: float = 1.0):
        pass


def sweeper(**changed):
    """A search as Hydra builds it: lists and mappings are OmegaConf's."""
    plain = {
        "params": {"lr": "1,2"},
        "derived": {"alpha": "rank * alpha_mult"},
        "first_pass": [],
        "promote": 1,
        "full": ["train_fraction=1", "~subset"],
        "average": ["seed"],
        "name": "random",
        "budget": 3,
        "seed": 0,
        "initial": 0,
        "design": "sobol",
        "parallel": 1,
        "max_failure_rate": 0.2,
        "journal": "search.jsonl",
    }
    built = OmegaConf.create(plain | {key: value for key, value in changed.items() if key != "method"})
    nodes = {"preflight": print, "identity": print, "method": changed.get("method", partial(Random))}
    return SearchSweeper(**built, **nodes)


def test_what_hydra_gives_passes():
    sweeper().check()
    sweeper(params=None, derived=None, max_failure_rate=1, method=partial(Method, encoder=object(), rate=1)).check()


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        ({"promote": 1.5}, "hydra.sweeper.promote=1.5 must be a whole number of at least 0"),
        ({"promote": -1}, "hydra.sweeper.promote=-1 must be a whole number of at least 0"),
        ({"promote": "abc"}, "hydra.sweeper.promote=abc must be a whole number of at least 0"),
        ({"budget": True}, "hydra.sweeper.budget=true must be a whole number of at least 1"),
        ({"budget": None}, "hydra.sweeper.budget=null must be a whole number of at least 1"),
        ({"seed": 2**32}, "must be a whole number of at least 0 and at most 4294967295"),
        ({"max_failure_rate": "abc"}, "hydra.sweeper.max_failure_rate=abc must be a number between 0 and 1"),
        ({"max_failure_rate": float("nan")}, "hydra.sweeper.max_failure_rate=nan must be a number between 0 and 1"),
        ({"name": "../../x"}, r"hydra.sweeper.name=\.\./\.\./x must be the method's name"),
        ({"name": "a/b"}, "hydra.sweeper.name=a/b must be the method's name"),
        ({"journal": None}, "hydra.sweeper.journal=null must be a file"),
        ({"journal": " "}, "hydra.sweeper.journal=  must be a file"),
        ({"params": 3}, "hydra.sweeper.params=3 must be null or keys with their values"),
        ({"derived": {"alpha": 2}}, "must be null or keys with products of others"),
        ({"full": "train_fraction=1"}, "hydra.sweeper.full=train_fraction=1 must be a list of overrides"),
        ({"full": ["train_fraction"]}, "must be a list of overrides"),
        ({"first_pass": None}, "hydra.sweeper.first_pass=null must be a list of overrides"),
        ({"average": [1]}, r"hydra.sweeper.average=\[1\] must be a list of keys"),
        ({"method": "random"}, "hydra.sweeper.method=random is no method: choose one with hydra/sweeper=NAME"),
        ({"method": partial(Random, tokn=False)}, "hydra.sweeper.method.tokn is no setting of random; it has none"),
        (
            {"method": partial(Method, tokn=False)},
            "tokn is no setting of random; its settings: encoder, text, token, steps, rate",
        ),
        ({"method": partial(Method)}, "hydra.sweeper.method.encoder is missing, which random needs"),
        ({"method": partial(Method, encoder="smollm2")}, "method.encoder=smollm2 must be a node with a _target_"),
        ({"method": partial(Method, encoder=object(), token="no")}, "hydra.sweeper.method.token=no must be true or false"),
        ({"method": partial(Method, encoder=object(), token=1)}, "hydra.sweeper.method.token=1 must be true or false"),
        ({"method": partial(Method, encoder=object(), steps=True)}, "hydra.sweeper.method.steps=true must be a whole number"),
        ({"method": partial(Method, encoder=object(), text=5)}, "hydra.sweeper.method.text=5 must be a text"),
    ],
)
def test_another_value_is_one_line(changed, line):
    with pytest.raises(SweepError, match=line) as caught:
        sweeper(**changed).check()
    assert "\n" not in str(caught.value)


def test_a_grid_checks_its_own():
    with pytest.raises(SweepError, match="promote=-1 must be"):
        GridSweeper(params=None, preflight=print, first_pass=[], promote=-1).check()
    assert not settings.is_a(int, 1.0) and settings.is_a(float, 1)
