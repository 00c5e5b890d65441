"""Two hundred rows by five: what a fit costs where the arithmetic costs nothing, beside statsmodels."""

import numpy as np
import pytest
import statsmodels.api as sm
import torch

import betahat as bh

ROUNDS = {"rounds": 1000, "warmup_rounds": 100}
GROUPS = np.arange(200) % 20


def responses(endog):
    """Return (n,) yes or no, and (n,) one of three classes, that go along with y."""
    noise = torch.randn(len(endog), dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    index = endog / 5 + noise
    return (index > 0).double(), (index > -0.5).long() + (index > 0.5).long()


OURS = {
    "nonrobust": lambda y, x, *_: bh.OLS(y, x).fit().bse,
    "HC1": lambda y, x, *_: bh.OLS(y, x).fit("HC1").bse,
    "HC3": lambda y, x, *_: bh.OLS(y, x).fit("HC3").bse,
    "cluster": lambda y, x, *_: bh.OLS(y, x).fit(bh.Cluster(GROUPS)).bse,
    "HAC": lambda y, x, *_: bh.OLS(y, x).fit(bh.HAC(4)).bse,
    "Logit": lambda y, x, yes, _: bh.Logit(yes, x).fit().bse,
    "MNLogit": lambda y, x, _, kind: bh.MNLogit(kind, x).fit().bse,
}
THEIRS = {
    "nonrobust": lambda y, x, *_: sm.OLS(y, x).fit().bse,
    "HC1": lambda y, x, *_: sm.OLS(y, x).fit(cov_type="HC1").bse,
    "HC3": lambda y, x, *_: sm.OLS(y, x).fit(cov_type="HC3").bse,
    "cluster": lambda y, x, *_: sm.OLS(y, x).fit(cov_type="cluster", cov_kwds={"groups": GROUPS}).bse,
    "HAC": lambda y, x, *_: sm.OLS(y, x).fit(cov_type="HAC", cov_kwds={"maxlags": 4}).bse,
    "Logit": lambda y, x, yes, _: sm.Logit(yes, x).fit(disp=0).bse,
    "MNLogit": lambda y, x, _, kind: sm.MNLogit(kind, x).fit(disp=0).bse,
}


@pytest.mark.parametrize("name", OURS)
def test_betahat(benchmark, small, name):
    given = (*small, *responses(small[0]))
    benchmark.pedantic(lambda: OURS[name](*given), **ROUNDS)


def test_betahat_arrays(benchmark, small):
    endog, exog = (part.numpy() for part in small)
    benchmark.pedantic(lambda: bh.OLS(endog, exog).fit().bse, **ROUNDS)


@pytest.mark.parametrize("name", THEIRS)
def test_statsmodels(benchmark, small, name):
    given = [part.numpy() for part in (*small, *responses(small[0]))]
    benchmark.pedantic(lambda: THEIRS[name](*given), **ROUNDS)
