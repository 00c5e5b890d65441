"""Counts of a hundred thousand rows by ten columns, beside statsmodels, whose solvers stop early."""

import warnings

import numpy as np
import pytest
import statsmodels.api as sm

import betahat as bh


@pytest.fixture(scope="module")
def data():
    """(n,) overdispersed counts, the same with excess zeros, and (n, k) regressors."""
    rng = np.random.default_rng(0)
    exog = sm.add_constant(rng.normal(size=(100_000, 9)))
    mean = np.exp(0.3 + exog[:, 1:] @ np.linspace(-0.3, 0.3, 9))
    counts = rng.poisson(mean * rng.gamma(2.0, 0.5, len(exog))).astype(float)
    there = rng.uniform(size=len(exog)) < 1.0 / (1.0 + np.exp(-0.8 - 0.5 * exog[:, 1]))
    return counts, counts * there, exog


@pytest.mark.parametrize("package", [bh, sm], ids=["betahat", "statsmodels"])
@pytest.mark.parametrize("method", ["nb2", "nb1"])
def test_negative_binomial(benchmark, data, package, method):
    counts, _, exog = data
    quiet = {} if package is bh else {"disp": 0}
    benchmark.pedantic(
        lambda: package.NegativeBinomial(counts, exog, loglike_method=method).fit(**quiet).bse,
        rounds=5,
        warmup_rounds=1,
    )


@pytest.mark.parametrize("model", ["ZeroInflatedNegativeBinomialP", "HurdleNegativeBinomial"])
def test_betahat(benchmark, data, model):
    _, zeros, exog = data
    benchmark.pedantic(lambda: getattr(bh, model)(zeros, exog, exog[:, :4]).fit().bse, rounds=3, warmup_rounds=1)


def test_statsmodels(benchmark, data):
    _, zeros, exog = data

    def fit():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return sm.ZeroInflatedNegativeBinomialP(zeros, exog, exog_infl=exog[:, :4]).fit(disp=0, maxiter=200).bse

    benchmark.pedantic(fit, rounds=1)
