"""Ordered logit of a hundred thousand rows by ten and five categories, beside statsmodels, whose solver stops early."""

import numpy as np
import pytest
from statsmodels.miscmodels.ordinal_model import OrderedModel

import betahat as bh


@pytest.fixture(scope="module")
def data():
    """(n,) categories and (n, k) regressors."""
    rng = np.random.default_rng(0)
    exog = rng.normal(size=(100_000, 10))
    latent = exog @ np.linspace(-0.5, 0.5, 10) + rng.logistic(size=len(exog))
    return np.digitize(latent, [-2.0, -0.7, 0.7, 2.0]), exog


@pytest.mark.parametrize("distr", ["logit", "probit", "cloglog", "loglog", "cauchit"])
def test_betahat(benchmark, data, distr):
    benchmark.pedantic(lambda: bh.OrderedModel(*data, distr=distr).fit("HC0").bse, rounds=5, warmup_rounds=1)


def test_statsmodels(benchmark, data):
    benchmark.pedantic(lambda: OrderedModel(*data, distr="logit").fit(method="bfgs", disp=0).bse, rounds=1)
