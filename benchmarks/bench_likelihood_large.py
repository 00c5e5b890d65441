"""Logit and Poisson with HC0 from arrays in memory, a million rows by twenty, beside statsmodels and glum."""

import glum
import numpy as np
import pytest
import statsmodels.api as sm

import betahat as bh

MODELS = ("Logit", "Poisson")
FAMILIES = {"Logit": "binomial", "Poisson": "poisson"}


@pytest.fixture(scope="module")
def likelihood():
    """(n, k) regressors with a constant, and for each model its (n,) dependent variable."""
    rng = np.random.default_rng(0)
    exog = np.column_stack([np.ones(1_000_000), rng.normal(size=(1_000_000, 19))])
    index = exog @ (0.2 * rng.normal(size=20))
    yes = (rng.random(len(exog)) < 1 / (1 + np.exp(-index))).astype(float)
    return exog, {"Logit": yes, "Poisson": rng.poisson(np.exp(0.5 * index)).astype(float)}


@pytest.mark.parametrize("model", [*MODELS, "Probit"])
def test_betahat(benchmark, likelihood, model):
    exog, endog = likelihood
    y = endog[model if model in MODELS else "Logit"]
    benchmark.pedantic(lambda: getattr(bh, model)(y, exog).fit("HC0").bse, rounds=7, warmup_rounds=1)


def classes(likelihood):
    """Return two hundred thousand rows by eight, and four classes of about as many rows."""
    exog = likelihood[0][:200_000, :8]
    return exog, np.digitize(exog[:, 1] + np.random.default_rng(2).normal(size=len(exog)), [-0.9, 0.0, 0.9])


def test_mnlogit(benchmark, likelihood):
    exog, endog = classes(likelihood)
    benchmark.pedantic(lambda: bh.MNLogit(endog, exog).fit().bse, rounds=3, warmup_rounds=1)


def test_statsmodels_mnlogit(benchmark, likelihood):
    exog, endog = classes(likelihood)
    benchmark.pedantic(lambda: sm.MNLogit(endog, exog).fit(disp=0).bse, rounds=1)


def wide():
    """Return twenty thousand rows by a thousand, and a yes or a no."""
    rng = np.random.default_rng(3)
    exog = rng.normal(size=(20_000, 1000))
    return (exog[:, :5].sum(1) + rng.logistic(size=len(exog)) > 0).astype(float), exog


def test_wide_logit(benchmark):
    endog, exog = wide()
    benchmark.pedantic(lambda: bh.Logit(endog, exog).fit().bse, rounds=2)


def test_wide_gram(benchmark):
    _, exog = wide()
    benchmark.pedantic(lambda: exog.T @ exog, rounds=5)


@pytest.mark.parametrize("model", MODELS)
def test_betahat_hc3(benchmark, likelihood, model):
    exog, endog = likelihood
    benchmark.pedantic(lambda: getattr(bh, model)(endog[model], exog).fit("HC3").bse, rounds=5, warmup_rounds=1)


@pytest.mark.parametrize("model", MODELS)
def test_glum(benchmark, likelihood, model):
    """glum's fit, and its covariance `robust=True`, which is HC1."""
    exog, endog = likelihood

    def fit():
        settings = {"family": FAMILIES[model], "alpha": 0, "fit_intercept": False, "gradient_tol": 1e-8}
        found = glum.GeneralizedLinearRegressor(**settings).fit(exog, endog[model])
        return found.covariance_matrix(exog, endog[model], robust=True)

    benchmark.pedantic(fit, rounds=3, warmup_rounds=1)


@pytest.mark.parametrize("model", MODELS)
def test_statsmodels(benchmark, likelihood, model):
    exog, endog = likelihood
    benchmark.pedantic(lambda: getattr(sm, model)(endog[model], exog).fit(disp=0, cov_type="HC0").bse, rounds=2)
