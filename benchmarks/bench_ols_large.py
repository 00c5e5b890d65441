"""From tensors in memory to standard errors, a million rows by twenty: in units of one X'X."""

import pytest
import statsmodels.api as sm
import torch
from conftest import problem

import betahat as bh

ROUNDS = {"rounds": 11, "warmup_rounds": 2}


def test_numpy_gram(benchmark, large):
    exog = large[1].numpy()
    benchmark.pedantic(lambda: exog.T @ exog, **ROUNDS)


@pytest.mark.parametrize("cov_type", ["nonrobust", "HC1", "HC3"])
def test_betahat(benchmark, large, cov_type):
    endog, exog = large
    benchmark.pedantic(lambda: bh.OLS(endog, exog).fit(cov_type).bse, **ROUNDS)


def test_betahat_collinear_hc1(benchmark, large):
    """The other route: no certificate for the Gram matrix, so TSQR."""
    endog, exog = large[0], large[1].clone()
    exog[:, 1] = exog[:, 2] + 1e-3 * exog[:, 1]
    benchmark.pedantic(lambda: bh.OLS(endog, exog).fit("HC1").bse, **ROUNDS)


def test_betahat_wls_hc1(benchmark, large):
    endog, exog = large
    weights = torch.linspace(0.5, 1.5, len(endog), dtype=torch.float64)
    benchmark.pedantic(lambda: bh.WLS(endog, exog, weights).fit("HC1").bse, **ROUNDS)


def test_statsmodels_hc1(benchmark, large):
    endog, exog = (part.numpy() for part in large)
    benchmark.pedantic(lambda: sm.OLS(endog, exog).fit(cov_type="HC1").bse, rounds=5, warmup_rounds=1)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("cov_type", ["HC1", "HC3"])
def test_betahat_cuda(benchmark, cov_type):
    endog, exog = problem(1_000_000, 20, "cuda")

    def fit():
        bh.OLS(endog, exog).fit(cov_type).bse.cpu()

    benchmark.pedantic(fit, **ROUNDS)
