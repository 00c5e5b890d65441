"""Two-stage least squares with HC1, a million rows by six regressors and three instruments, beside least squares with HC1 and linearmodels."""

import numpy as np
import pytest
import torch
from linearmodels.iv import IV2SLS

import betahat as bh

N = 1_000_000


@pytest.fixture(scope="module")
def data():
    """The dependent variable, exogenous regressors with a constant, the endogenous one, and the instruments."""
    rng = np.random.default_rng(0)
    exog = np.column_stack([np.ones(N), rng.normal(size=(N, 4))])
    instruments, error = rng.normal(size=(N, 3)), rng.normal(size=N)
    endog = instruments.sum(1) + error + rng.normal(size=N)
    return exog.sum(1) + endog + error, exog, endog, instruments


def test_least_squares(benchmark, data):
    """What the other is measured by: it takes at most three times as long."""
    y, exog, endog, _ = (torch.from_numpy(part) for part in data)
    x = torch.cat([exog, endog[:, None]], 1)
    benchmark.pedantic(lambda: bh.OLS(y, x).fit("HC1").bse, rounds=7, warmup_rounds=1)


def test_two_stages(benchmark, data):
    y, exog, endog, instruments = (torch.from_numpy(part) for part in data)
    benchmark.pedantic(lambda: bh.IV2SLS(y, exog, endog, instruments).fit("HC1").bse, rounds=7, warmup_rounds=1)


def test_limited_information(benchmark, data):
    y, exog, endog, instruments = (torch.from_numpy(part) for part in data)
    benchmark.pedantic(lambda: bh.IVLIML(y, exog, endog, instruments).fit("HC1").bse, rounds=5, warmup_rounds=1)


def test_two_steps(benchmark, data):
    y, exog, endog, instruments = (torch.from_numpy(part) for part in data)
    benchmark.pedantic(lambda: bh.IVGMM(y, exog, endog, instruments).fit("HC1").bse, rounds=5, warmup_rounds=1)


def test_linearmodels(benchmark, data):
    benchmark.pedantic(
        lambda: IV2SLS(*data).fit(cov_type="robust", debiased=True).std_errors, rounds=3, warmup_rounds=1
    )
