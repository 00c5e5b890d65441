"""GLM with HC0 from arrays in memory, a hundred thousand rows by ten, beside glum with its robust covariance and statsmodels, in CPU seconds."""

import time

import glum
import numpy as np
import pytest
import statsmodels.api as sm

import betahat as bh

F, L = sm.families, sm.families.links
FAMILIES = {"poisson": F.Poisson(), "gamma, log": F.Gamma(L.Log()), "cloglog": F.Binomial(L.CLogLog())}
OF_GLUM = {"poisson": ("poisson", "log"), "gamma, log": ("gamma", "log"), "cloglog": ("binomial", "cloglog")}

pytestmark = [pytest.mark.parametrize("model", FAMILIES), pytest.mark.benchmark(timer=time.process_time)]


@pytest.fixture(scope="module")
def data():
    """(n, k) regressors with a constant, and for each model its (n,) dependent variable."""
    rng = np.random.default_rng(0)
    exog = np.column_stack([np.ones(100_000), rng.normal(size=(100_000, 9))])
    index = exog @ (0.2 * rng.normal(size=10))
    endog = {
        "poisson": rng.poisson(np.exp(0.5 * index)) * 1.0,
        "gamma, log": rng.gamma(2.0, np.exp(index) / 2.0),
        "cloglog": (rng.random(len(index)) < -np.expm1(-np.exp(index - 0.5))) * 1.0,
    }
    return exog, endog


def test_betahat(benchmark, data, model):
    exog, endog = data
    benchmark.pedantic(lambda: bh.GLM(endog[model], exog, FAMILIES[model]).fit("HC0").bse, rounds=7, warmup_rounds=1)


def test_glum(benchmark, data, model):
    """glum's fit, and its covariance `robust=True`."""
    exog, endog = data
    family, link = OF_GLUM[model]

    def fit():
        settings = {"family": family, "link": link, "alpha": 0, "fit_intercept": False, "gradient_tol": 1e-8}
        found = glum.GeneralizedLinearRegressor(**settings).fit(exog, endog[model])
        return found.covariance_matrix(exog, endog[model], robust=True)

    benchmark.pedantic(fit, rounds=7, warmup_rounds=1)


def test_statsmodels(benchmark, data, model):
    exog, endog = data
    benchmark.pedantic(
        lambda: sm.GLM(endog[model], exog, FAMILIES[model]).fit(cov_type="HC0").bse, rounds=3, warmup_rounds=1
    )
