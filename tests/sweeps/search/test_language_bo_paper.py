"""Paper 2's search as it is written, on the embedded model; its process is tested in test_likelihood.py."""

import numpy as np
import pytest

pytest.importorskip("botorch", reason="pip install 'lorabench[search]' brings botorch")
import torch
import yaml

from sweeps.bench import catalog
from sweeps.processes import likelihood
from sweeps.search import design
from sweeps.search.base import Observation
from sweeps.search.language_bo_paper import LanguageBOPaper, standardise
from sweeps.space import Space

SPACE = Space(
    {"rank": ["1", "4", "16"], "alpha_mult": ["0.5", "2"], "lr": ["1e-4", "0.0010", "5e-3"], "batch_size": ["8", "16"]},
    {"variant.alpha": "rank * alpha_mult"},
    ["alpha_mult"],
)
HISTORY = [Observation(i, 1 - abs(i - 20) / 20) for i in (0, 9, 17, 25, 33)]


@pytest.fixture
def paper(loaded, source):
    """Makes a search over ``SPACE``."""
    return lambda **switches: LanguageBOPaper(SPACE, 0, source(loaded), **switches)


def test_it_starts_from_one_random_candidate_and_reads_no_relations(paper):
    config = catalog.method_config("language_bo_paper")
    assert (config["initial"], config["design"]) == (1, "random")
    first = {design.first(SPACE, "random", seed, 1)[0] for seed in range(20)}
    assert len(first) > 8
    prompts = paper()._prompts
    assert prompts.keys == ["rank", "variant.alpha", "lr", "batch_size"] and prompts.unexplained == []
    names = [line.strip().partition("=")[0] for line in prompts.lines(0)]
    assert names == ["rank", "alpha", "learning_rate", "batch_size"]
    text = yaml.safe_load((catalog.ROOT / "sweeps" / "language" / "texts" / "lora_paper.yaml").read_text())
    assert "relations" not in text and not any(character.isdigit() for part in text["axes"].values() for character in part)


@pytest.mark.parametrize("token", [True, False])
def test_an_interrupted_search_goes_on_to_the_same_question(paper, token):
    running, history = paper(token=token), HISTORY[:3]
    for _ in range(2):
        candidate = running.ask(history)
        assert candidate not in {observation.candidate for observation in history}
        assert paper(token=token).ask(history) == candidate
        history = [*history, Observation(candidate, 0.5)]


@pytest.mark.parametrize("scores", [[1.0], [1.0, 1.0], [None, None], [1.0, None]])
@pytest.mark.parametrize("token", [True, False])
def test_few_or_equal_scores_are_enough(paper, token, scores):
    history = [Observation(7 * i, score) for i, score in enumerate(scores)]
    assert paper(token=token).ask(history) not in {observation.candidate for observation in history}


def test_the_question_is_the_largest_improvement_with_the_fitted_token(paper, monkeypatch):
    """Recomputed from one text at a time, by SciPy."""
    from scipy.stats import norm

    fitted, fit = {}, likelihood.fit

    def watched(inputs, scores, projection, token=None):
        fitted.update(process=fit(inputs, scores, projection, token), projection=projection, token=token)
        return fitted["process"]

    monkeypatch.setattr(likelihood, "fit", watched)
    search = paper()
    question = search.ask(HISTORY)
    start, token = search._encoder.start, fitted["token"].detach()
    assert float((token - start).norm()) > 1e-3  # it moved
    states = torch.cat([search._encoder.embed([candidate], token) for candidate in range(len(SPACE))]).double()
    tried = [observation.candidate for observation in HISTORY]
    scores = standardise([observation.score for observation in HISTORY])
    with torch.no_grad():
        hidden = fitted["projection"].hidden(states)
        z = likelihood.rescale(hidden, hidden[tried])
        mean, variance = (part.numpy() for part in fitted["process"].predict(z[tried], scores, z))
    above, deviation = mean - float(scores.max()), np.sqrt(variance)
    gains = above * norm.cdf(above / deviation) + deviation * norm.pdf(above / deviation)
    gains[tried] = 0
    assert question == gains.argmax()
    assert np.sort(gains)[-2] < gains.max() * (1 - 1e-3)  # one candidate is clearly the best, so the test can fail


def test_a_fit_that_breaks_down_ends_in_a_draw(paper, monkeypatch):
    def broken(*arguments):
        raise torch.linalg.LinAlgError("not positive definite")

    monkeypatch.setattr(likelihood, "fit", broken)
    questions = {paper(token=False).ask(HISTORY[: n + 1]) for n in range(len(HISTORY))}
    assert len(questions) > 1 and not questions & {observation.candidate for observation in HISTORY[:1]}


def test_what_it_reads_decides_its_fingerprint(paper):
    assert paper().fingerprint() != paper(domain=False).fingerprint()
    assert set(paper().fingerprint()) == {"text", "encoder"}
