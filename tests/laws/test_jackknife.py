"""The jackknife is refits, and its one step a sum of scores."""

import numpy as np
import pytest
import torch
from support.closeness import same_covariance
from support.clustered import LOSSES, MODELS, ORDER, UNIT, G, N, W, X, Y, as_tensor, bread_and_scores, matrix_of

import betahat as bh

# The same sums of products in another order; optima to 1e-12 standard errors.
ROUNDING = 1e-9
# Two optima, each to a decrement below 1e-24, and the derivatives there.
REFITTED = 1e-8

pytestmark = [
    pytest.mark.filterwarnings("ignore::betahat.ClusterWarning"),  # test_cluster_messages.py has them
    pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning"),
]


@pytest.fixture(scope="module")
def clustered():
    """Every model's fit, which no test changes."""
    return {name: model(ORDER).fit("HC0") for name, model in MODELS.items()}


def _refits(model, labels):
    return np.stack([np.asarray(model(ORDER[labels != g]).fit("HC0").params).ravel("F") for g in np.unique(labels)])


@pytest.mark.slow
@pytest.mark.parametrize("labels", [UNIT, ORDER], ids=["clusters", "rows"])
@pytest.mark.parametrize("name", ["OLS", "WLS", "Logit", "Poisson", "MNLogit", "MEstimator"])
def test_jackknife_is_refits(name, labels, clustered):
    if labels is ORDER and name in ("MNLogit", "MEstimator"):
        pytest.skip("72 slow refits, twice")
    refits = _refits(MODELS[name], labels)
    count, b = len(refits), np.asarray(clustered[name].params).ravel("F")
    clusters = None if labels is ORDER else labels
    for center, steps in (("mean", refits - refits.mean(0)), ("estimate", refits - b)):
        for correction in (True, False):
            true = ((count - 1) / count if correction else 1.0) * steps.T @ steps
            found = matrix_of(clustered[name], bh.Jackknife(clusters, center, refit=True, correction=correction))
            same_covariance(found, true, REFITTED)
    if name in ("OLS", "WLS"):
        kind = bh.Cluster(labels, "CR3", target="inverse_weights")
        same_covariance(matrix_of(clustered[name], kind), (refits - b).T @ (refits - b), REFITTED)


@pytest.mark.parametrize("name", ["Logit", "Probit", "Poisson", "MNLogit", "TorchModel"])
def test_one_step_jackknife(name, clustered):
    """Without refits each step is Newton's from the estimate: (A - A_g)^-1 s_g, and CR3 is their sum of squares."""
    b = as_tensor(np.asarray(clustered[name].params).ravel("F"))
    _, scores = bread_and_scores(name, clustered[name])
    steps = []
    for g in range(G):
        left = as_tensor(g != UNIT).double()
        hessian = torch.func.hessian(lambda b, left=left: (left * LOSSES[name](b)).sum())(b)
        steps.append(np.linalg.solve(hessian.numpy(), scores[g == UNIT].sum(0)))
    steps = np.stack(steps)
    same_covariance(matrix_of(clustered[name], bh.Cluster(UNIT, "CR3")), steps.T @ steps, REFITTED)
    same_covariance(
        matrix_of(clustered[name], bh.Jackknife(UNIT, "estimate", correction=False)), steps.T @ steps, REFITTED
    )
    steps = steps - steps.mean(0)
    same_covariance(matrix_of(clustered[name], bh.Jackknife(UNIT)), (G - 1) / G * steps.T @ steps, REFITTED)


@pytest.mark.parametrize("kind", ["CR0", "CR2", "CR3", "jackknife"])
@pytest.mark.parametrize("weights", [None, "by cluster"])
def test_dummies_of_the_clusters(weights, kind):
    """With a dummy for each cluster the slopes are those of the within-transformed model (I - H_gg is singular)."""
    w = np.ones(N) if weights is None else W[UNIT]
    dummies = (UNIT[:, None] == np.arange(G)).astype(float)
    means = lambda v: dummies @ ((dummies.T @ (w[:, None] * v)) / (dummies.T @ w)[:, None])  # noqa: E731
    full = bh.WLS(Y, np.column_stack([X[:, 1:], dummies]), weights=w).fit(bh.Cluster(UNIT, kind))
    within = np.column_stack([X[:, 1:], Y]) - means(np.column_stack([X[:, 1:], Y]))
    slopes = bh.WLS(within[:, 2], within[:, :2], weights=w).fit(bh.Cluster(UNIT, kind))
    np.testing.assert_allclose(full.params[:2], slopes.params, rtol=1e-9)
    same_covariance(full.cov_params()[:2, :2], slopes.cov_params(), ROUNDING)
    if kind in ("CR2", "CR3"):
        np.testing.assert_allclose(full.cov.df[:2], slopes.cov.df, rtol=REFITTED)
