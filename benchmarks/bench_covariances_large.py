"""Clusters and HAC, a million rows by twenty, beside statsmodels and pyfixest; CR2 of least squares and of Logit."""

import numpy as np
import pandas as pd
import pyfixest as pf
import pytest
import statsmodels.api as sm

import betahat as bh

LAGS = 20


@pytest.fixture(scope="module")
def clustered(large):
    """(n,) y, (n, k) x, ten thousand firms in any order, and fifty years."""
    endog, exog = (np.asarray(part) for part in large)
    rng = np.random.default_rng(1)
    return endog, exog, rng.integers(0, 10_000, len(endog)), rng.integers(0, 50, len(endog))


@pytest.fixture(scope="module")
def frame_of_clusters(clustered):
    endog, exog, firm, year = clustered
    frame = pd.DataFrame(exog[:, 1:], columns=[f"x{i}" for i in range(1, exog.shape[1])])
    return frame.assign(y=endog, firm=firm, year=year)


@pytest.fixture(scope="module")
def unbalanced():
    """A hundred thousand rows in a thousand clusters of 1 to 1,500 rows."""
    rng = np.random.default_rng(2)
    exog = np.column_stack([np.ones(100_000), rng.normal(size=(100_000, 19))])
    shares = rng.pareto(1.5, 1000) + 0.05
    groups = np.concatenate([np.arange(1000), rng.choice(1000, 99_000, p=shares / shares.sum())])
    return exog.sum(1) + rng.normal(size=len(exog)) + rng.normal(size=1000)[groups], exog, groups


def test_cluster(benchmark, clustered):
    endog, exog, firm, _ = clustered
    benchmark.pedantic(lambda: bh.OLS(endog, exog).fit(bh.Cluster(firm)).bse, rounds=9, warmup_rounds=1)


def test_cluster_two_ways(benchmark, clustered):
    endog, exog, firm, year = clustered
    benchmark.pedantic(lambda: bh.OLS(endog, exog).fit(bh.Cluster([firm, year])).bse, rounds=9, warmup_rounds=1)


def test_statsmodels_cluster(benchmark, clustered):
    endog, exog, firm, _ = clustered
    fit = sm.OLS(endog, exog).fit
    benchmark.pedantic(lambda: fit(cov_type="cluster", cov_kwds={"groups": firm}).bse, rounds=3)


def test_pyfixest_cluster(benchmark, frame_of_clusters):
    formula = "y ~ " + " + ".join(f"x{i}" for i in range(1, 20))
    benchmark.pedantic(lambda: pf.feols(formula, frame_of_clusters, vcov={"CRV1": "firm"}).se(), rounds=3)


def test_hac(benchmark, clustered):
    endog, exog, *_ = clustered
    benchmark.pedantic(lambda: bh.OLS(endog, exog).fit(bh.HAC(LAGS)).bse, rounds=7, warmup_rounds=1)


def test_statsmodels_hac(benchmark, clustered):
    endog, exog, *_ = clustered
    benchmark.pedantic(lambda: sm.OLS(endog, exog).fit(cov_type="HAC", cov_kwds={"maxlags": LAGS}).bse, rounds=2)


@pytest.mark.parametrize("kind", ["CR1S", "CR2", "CR3"])
def test_unbalanced(benchmark, unbalanced, kind):
    endog, exog, groups = unbalanced
    benchmark.pedantic(lambda: bh.OLS(endog, exog).fit(bh.Cluster(groups, kind)).bse, rounds=5, warmup_rounds=1)


@pytest.fixture(scope="module")
def answers(clustered):
    """(n,) yes or no."""
    _, exog, *_ = clustered
    return (np.random.default_rng(3).random(len(exog)) < 1 / (1 + np.exp(-0.2 * exog.sum(1)))).astype(float)


def test_cr2(benchmark, clustered):
    endog, exog, firm, _ = clustered
    benchmark.pedantic(lambda: bh.OLS(endog, exog).fit(bh.Cluster(firm, "CR2")).bse, rounds=3, warmup_rounds=1)


def test_cr2_of_weights(benchmark, clustered):
    endog, exog, firm, year = clustered
    fit = bh.WLS(endog, exog, weights=1.0 + year).fit
    benchmark.pedantic(lambda: fit(bh.Cluster(firm, "CR2")).bse, rounds=1)


def test_cr2_of_logit(benchmark, clustered, answers):
    _, exog, firm, _ = clustered
    benchmark.pedantic(lambda: bh.Logit(answers, exog).fit(bh.Cluster(firm, "CR2")).bse, rounds=3, warmup_rounds=1)


@pytest.mark.filterwarnings("ignore::betahat.ClusterWarning")
def test_cr2_of_logit_of_four_clusters(benchmark, clustered, answers):
    """Two hundred thousand rows, which m x m matrices of their rows would have taken 161 GB for."""
    _, exog, firm, _ = clustered
    few = slice(200_000)
    benchmark.pedantic(lambda: bh.Logit(answers[few], exog[few]).fit(bh.Cluster(firm[few] % 4, "CR2")).bse, rounds=3)


def test_jackknife(benchmark, clustered):
    endog, exog, firm, _ = clustered
    benchmark.pedantic(lambda: bh.OLS(endog, exog).fit(bh.Jackknife(firm)).bse, rounds=5, warmup_rounds=1)


def test_statsmodels_jackknife(benchmark, clustered):
    endog, exog, firm, _ = clustered
    fit = sm.OLS(endog, exog).fit
    benchmark.pedantic(lambda: fit(cov_type="cluster-jk", cov_kwds={"groups": firm}).bse, rounds=1)
