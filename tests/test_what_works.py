"""The page of what works where: every model, covariance and method gives an answer or one of our sentences."""

import importlib.util
import warnings
from functools import cache
from pathlib import Path

import pytest

from betahat.covariance import names
from betahat.models import registry

pytest.importorskip("docutils")
pytest.importorskip("matplotlib")

PAGE = Path(__file__).parents[1] / "docs" / "what_works.py"


@cache
def _page():
    spec = importlib.util.spec_from_file_location("what_works", PAGE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def page():
    return _page()


def test_every_model_and_every_covariance_is_there(page):
    fitted = {name.split(",")[0] for name in page.MODELS}
    assert fitted == {entry.model.__name__ for entry in registry.MODELS}
    taken = {name.split(",")[0].lower() for name in page.COVARIANCES}
    assert taken >= set(names._BUILT_IN) - set(names._ALIASES)


PROMISED = ("HC0", "HC1", "cluster", "bootstrap, pairs", "bootstrap, score")
SAMPLES = 4


def _tried(page, model):
    """What a model says under a quarter of the covariances, which the next model continues, and under those that all promise; making the page tries all."""
    some = list(page.COVARIANCES)[list(page.MODELS).index(model) % SAMPLES :: SAMPLES]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return list(page.of_model(model, {*some, *PROMISED}))


@pytest.mark.slow
@pytest.mark.parametrize("model", _page().MODELS)
def test_what_a_model_says(page, model):
    """It has the sandwich and the bootstrap of pairs, with intervals; another exception than a sentence passes through, and fails here."""
    cells = _tried(page, model)
    worked = {(cell.covariance, cell.method) for cell in cells if cell.sentence is None}
    for covariance in PROMISED:
        assert (covariance, None) in worked, covariance
        if covariance in page.ONE_OF_EACH_KIND:
            for method in ("summary", "conf_int", "t_test", "wald_test", "delta"):
                assert (covariance, method) in worked, (covariance, method)
    for sentence in {cell.sentence for cell in cells} - {None}:
        assert sentence[0].isupper() or "=" in sentence.split()[0] or "_" in sentence.split()[0], sentence
        assert sentence.endswith("."), sentence


@pytest.mark.filterwarnings("ignore::betahat.BetahatWarning")
def test_least_squares_has_every_covariance(page):
    base = page.MODELS["OLS"]().fit("HC0")
    for name, (covariance, options) in page.COVARIANCES.items():
        if name not in ("H1", "H2", "H3"):
            base.with_cov(covariance, options or None)
