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
