"""Two hundred rows by five: what a fit costs where the arithmetic costs nothing."""

import pytest
import statsmodels.api as sm

import betahat as bh

ROUNDS = {"rounds": 2000, "warmup_rounds": 200}


@pytest.mark.parametrize("cov_type", ["nonrobust", "HC1", "HC3"])
def test_betahat(benchmark, small, cov_type):
    endog, exog = small
    benchmark.pedantic(lambda: bh.OLS(endog, exog).fit(cov_type).bse, **ROUNDS)


def test_betahat_arrays(benchmark, small):
    endog, exog = (part.numpy() for part in small)
    benchmark.pedantic(lambda: bh.OLS(endog, exog).fit().bse, **ROUNDS)


@pytest.mark.parametrize("cov_type", ["nonrobust", "HC1", "HC3"])
def test_statsmodels(benchmark, small, cov_type):
    endog, exog = (part.numpy() for part in small)
    benchmark.pedantic(lambda: sm.OLS(endog, exog).fit(cov_type=cov_type).bse, **ROUNDS)
