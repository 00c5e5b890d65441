"""The page of what works where: every model, covariance and method gives an answer or one of our sentences."""

import importlib.util
from pathlib import Path

import pytest

from betahat.covariance import names
from betahat.models import registry

pytest.importorskip("docutils")
pytest.importorskip("matplotlib")

PAGE = Path(__file__).parents[1] / "docs" / "what_works.py"


@pytest.fixture(scope="module")
def page():
    spec = importlib.util.spec_from_file_location("what_works", PAGE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_model_and_every_covariance_is_there(page):
    fitted = {name.split(",")[0] for name in page.MODELS}
    assert fitted == {entry.model.__name__ for entry in registry.MODELS}
    taken = {name.split(",")[0].lower() for name in page.COVARIANCES}
    assert taken >= set(names._BUILT_IN) - set(names._ALIASES)


def test_what_is_no_answer_is_a_sentence_of_ours(page):
    """An exception of another kind passes through `cells`, and fails here."""
    cells = page.cells()
    assert len({(c.model, c.covariance, c.method) for c in cells}) == len(cells)
    for sentence in {cell.sentence for cell in cells} - {None}:
        assert sentence[0].isupper() or "=" in sentence.split()[0] or "_" in sentence.split()[0], sentence
        assert sentence.endswith("."), sentence


def test_what_least_squares_and_likelihoods_promise(page):
    """Linear regression has every covariance, every model the sandwich and the bootstrap of pairs, each with intervals."""
    worked = {(c.model, c.covariance, c.method) for c in page.cells() if c.sentence is None}
    for covariance in page.COVARIANCES:
        assert (("OLS", covariance, None) in worked) is (covariance not in ("H1", "H2", "H3")), covariance
    for model in page.MODELS:
        for covariance in ("HC0", "HC1", "cluster", "bootstrap, pairs", "bootstrap, score"):
            for method in (None, "summary", "conf_int", "t_test", "wald_test", "delta"):
                assert (model, covariance, method) in worked, (model, covariance, method)
