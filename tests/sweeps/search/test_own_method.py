"""A method of a user's own: one file on the path, one yaml in a ``--config-dir``."""

import json

import pytest

CODE = '''
from sweeps.search.base import Search, filled_scores, untried


class Neighbours(Search):
    """The untried candidate whose encoding is nearest to that of the best one."""

    def __init__(self, space, seed, power: float = 2.0):
        super().__init__(space, seed)
        self.power = power

    def ask(self, history):
        scores = filled_scores(history)
        best = history[scores.index(max(scores))].candidate
        distances = (abs(self.space.encoded - self.space.encoded[best]) ** self.power).sum(1)
        distances[~untried(self.space, history)] = float("inf")
        return int(distances.argmin())
'''
YAML = """
defaults: [search]
name: neighbours
method:
  _target_: neighbours.Neighbours
  _partial_: true
  power: 1.0
"""
OWN = ("--config-dir", "own", "hydra/sweeper=neighbours")


@pytest.fixture
def own(app):
    """The application beside a method of one's own."""
    (app.folder / "own" / "hydra" / "sweeper").mkdir(parents=True)
    (app.folder / "own" / "hydra" / "sweeper" / "neighbours.yaml").write_text(YAML)
    (app.folder / "neighbours.py").write_text(CODE)
    return app


def test_it_searches_and_goes_on(own):
    done = own(*OWN, "hydra.sweeper.budget=8", env={"DIE_AT": "6"})
    assert done.returncode == 9, done.stderr
    done = own(*OWN, "hydra.sweeper.budget=8")
    assert done.returncode == 0, done.stderr
    assert len(own.calls()) == 9 and len(set(own.calls())) == 8  # the one that was killed ran again
    results = own.results()
    assert results["name"] == "neighbours" and results["evaluations"] == 8
    header = json.loads((own.folder / results["journal"]).read_text().splitlines()[0])
    assert header["search"]["settings"] == {"power": 1.0}
    best_of_design = max(map(own.objective, own.calls()[:5]))
    assert results["best_evaluated_result"] > best_of_design  # it asks beside the best


def test_its_settings_are_checked(own):
    for wrong, line in {
        "hydra.sweeper.method.power=high": "hydra.sweeper.method.power=high must be a number",
        "+hydra.sweeper.method.pwer=1": "hydra.sweeper.method.pwer is no setting of neighbours; its settings: power",
    }.items():
        done = own(*OWN, "hydra.sweeper.budget=2", wrong)
        assert done.returncode != 0 and line in done.stderr.splitlines()[-1]
    assert own.calls() == []


def test_another_source_is_another_search(own):
    assert own(*OWN, "hydra.sweeper.budget=6").returncode == 0
    (own.folder / "neighbours.py").write_text(CODE.replace("argmin", "argmax").replace('float("inf")', "-1.0"))
    done = own(*OWN, "hydra.sweeper.budget=6")
    assert done.returncode != 0 and "code" in done.stderr and len(own.calls()) == 6


def test_another_version_of_a_shipped_method_is_another_search(app):
    """Its code may change with the checkout; a journal goes on with the version that it was begun with."""
    assert app("hydra.sweeper.budget=2").returncode == 0
    [journal] = (app.folder / "out" / "search").glob("*.jsonl")
    header, rest = journal.read_text().split("\n", 1)
    assert json.loads(header)["search"]["version"] == {"Random": 1, "Search": 1}
    for of_before, line in {
        header.replace('"Random": 1', '"Random": 2'): "is of another search (version.Random 2 instead of 1)",
        header.replace('"Search": 1', '"Search": 0'): "is of another search (version.Search 0 instead of 1)",
        header.replace('"version": {"Random": 1, "Search": 1}, ', ""): "version.Random None instead of 1, version.Search None",
    }.items():
        assert of_before != header
        journal.write_text(f"{of_before}\n{rest}")
        done = app("hydra.sweeper.budget=3")
        assert done.returncode != 0 and line in done.stderr.splitlines()[-1], done.stderr
        assert len(app.calls()) == 2


def test_a_shipped_class_without_a_version_is_told_by_its_source(monkeypatch):
    from sweeps.search.base import Search
    from sweeps.search.gp import GP
    from sweeps.sweepers.search import _own_code, _versions

    assert _versions(GP) == {"GP": 1, "Search": 1} and _own_code(GP) == {}
    monkeypatch.delattr(GP, "version")
    assert _versions(GP) == {"Search": 1} and _own_code(GP) != {}
    own = type("Own", (GP,), {"__module__": "sweeps.search.gp"})  # a subclass does not vouch by what it inherits
    assert _versions(own) == {"Search": 1} and GP in own.__mro__ and Search in own.__mro__


@pytest.mark.parametrize(
    ("was", "put", "line"),
    [
        ("int(distances.argmin())", "None", "MethodFault: Neighbours.ask() returned None; it must return a candidate, a plain"),
        ("int(distances.argmin())", "-1", "MethodFault: Neighbours.ask() returned -1; it must return a candidate, a plain int"),
        ("int(distances.argmin())", "distances.argmin()", "MethodFault: Neighbours.ask() returned np.int64("),
        ("int(distances.argmin())", "best", "which was tried; it must return a candidate not in the history"),
        ("int(distances.argmin())", "exit(0)", "RuntimeError: SystemExit: 0"),
        ("super().__init__(space, seed)", "pass", "MethodFault: Neighbours.__init__() must call super().__init__(space, seed)"),
        (
            "Neighbours(Search)",
            "Neighbours(dict)",
            "neighbours.Neighbours is no search method; derive it from sweeps.search.base",
        ),
        (
            "    def ask",
            "    def fingerprint(self): ...\n\n    def ask",
            "Neighbours.fingerprint() returned None; it must return a",
        ),
    ],
    ids=["none", "negative", "numpy", "tried", "exit", "init", "kind", "fingerprint"],
)
def test_a_method_that_answers_wrongly_is_one_line(own, was, put, line):
    assert was in CODE
    (own.folder / "neighbours.py").write_text(CODE.replace(was, put))
    done = own(*OWN, "hydra.sweeper.budget=3", "hydra.sweeper.initial=2")
    assert done.returncode != 0 and line in done.stderr.splitlines()[-1], done.stderr
    for journal in own.folder.glob("out/search/*.jsonl"):  # of the first points alone: it can be gone on with
        assert len(journal.read_text().splitlines()) in (1, 5)
