"""The bootstrap: pairs of least squares and Logit, and wild clusters, beside loops of statsmodels and NumPy, and wildboottest."""

import numpy as np
import pytest
import statsmodels.api as sm
from wildboottest.wildboottest import wildboottest

import betahat as bh

REPS = 1000
SIZES = [(10_000, 10), (100_000, 20)]
# Loops are timed by so many of their replicates; the report compares a replicate's time.
SOME, LOGIT_REPS = 20, 200


def _linear(rows, width):
    rng = np.random.default_rng(3)
    exog = np.column_stack([np.ones(rows), rng.normal(size=(rows, width - 1))])
    return exog.sum(1) + rng.normal(size=rows) * (1 + np.abs(exog[:, 1])), exog


@pytest.fixture(scope="module", params=SIZES, ids=str)
def linear(request):
    return _linear(*request.param)


@pytest.fixture(scope="module")
def binary():
    rng = np.random.default_rng(4)
    exog = np.column_stack([np.ones(20_000), rng.normal(size=(20_000, 19))])
    index = exog @ np.r_[-0.5, np.full(19, 0.2)]
    return (rng.random(20_000) < 1 / (1 + np.exp(-index))).astype(float), exog


@pytest.fixture(scope="module")
def clustered():
    endog, exog = _linear(5_000, 6)
    return endog, exog, np.random.default_rng(5).integers(0, 50, 5_000)


def test_pairs(benchmark, linear):
    res = bh.OLS(*linear).fit()
    benchmark.extra_info["replicates"] = REPS
    benchmark.pedantic(lambda: res.with_cov(bh.Bootstrap(REPS, seed=1)).bse, rounds=5, warmup_rounds=1)


def test_statsmodels_pairs(benchmark, linear):
    endog, exog = linear
    rng = np.random.default_rng(1)
    benchmark.extra_info["replicates"] = SOME

    def loop():
        return [sm.OLS(endog[rows], exog[rows]).fit().params for rows in _draws(rng, len(endog), SOME)]

    benchmark.pedantic(loop, rounds=3, warmup_rounds=1)


def test_numpy_pairs(benchmark, linear):
    endog, exog = linear
    rng = np.random.default_rng(1)
    benchmark.extra_info["replicates"] = SOME

    def loop():
        found = []
        for rows in _draws(rng, len(endog), SOME):
            x, y = exog[rows], endog[rows]
            found.append(np.linalg.solve(x.T @ x, x.T @ y))
        return found

    benchmark.pedantic(loop, rounds=5, warmup_rounds=1)


def test_logit_pairs(benchmark, binary):
    res = bh.Logit(*binary).fit()
    benchmark.extra_info["replicates"] = LOGIT_REPS
    benchmark.pedantic(lambda: res.with_cov(bh.Bootstrap(LOGIT_REPS, seed=1)).bse, rounds=5, warmup_rounds=1)


def test_statsmodels_logit_pairs(benchmark, binary):
    endog, exog = binary
    rng = np.random.default_rng(1)
    benchmark.extra_info["replicates"] = SOME

    def loop():
        return [sm.Logit(endog[rows], exog[rows]).fit(disp=0).params for rows in _draws(rng, len(endog), SOME)]

    benchmark.pedantic(loop, rounds=3, warmup_rounds=1)


def test_wild_clusters(benchmark, clustered):
    endog, exog, groups = clustered
    res = bh.OLS(endog, exog).fit()

    def test():
        return res.with_cov(bh.Bootstrap(9999, "wild", clusters=groups, seed=1)).t_test("x1 = 0").pvalue

    benchmark.pedantic(test, rounds=9, warmup_rounds=1)


def test_wildboottest(benchmark, clustered):
    endog, exog, groups = clustered
    model = sm.OLS(endog, exog)

    def test():
        return wildboottest(model, param="x1", cluster=groups, B=9999, seed=1, show=False)

    benchmark.pedantic(test, rounds=5, warmup_rounds=1)


def _draws(rng, rows, count):
    return (rng.integers(0, rows, rows) for _ in range(count))
