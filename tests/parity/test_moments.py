"""GMM against statsmodels' GMM and linearmodels' IVGMM, and stacked moments against the models that they stack."""

import numpy as np
import pytest
import torch
from linearmodels.iv import IV2SLS, IVGMM, IVGMMCUE
from statsmodels.sandbox.regression import gmm

import betahat as bh

# Both are closed forms, or solved to rounding.
EXACT = 1e-8
# The optimizers of the others stop where their gradient is below a tolerance.
SEARCHED = 1e-5

R = np.random.default_rng(3)
N = 300
Z = np.column_stack([np.ones(N), R.normal(size=(N, 4))])
U = R.normal(size=N)
PRICE = Z @ [0.0, 0.5, 0.4, 0.3, 0.6] + R.normal(size=N) + 0.5 * U
X = np.column_stack([Z[:, :2], PRICE])
Y = X @ [1.0, 0.5, -0.7] + U * (1.0 + 0.5 * np.abs(Z[:, 2]))
COUNTS = R.poisson(np.exp(0.3 + 0.4 * Z[:, 1])).astype(float)
FIRM = np.arange(N) // 10
START, DATA = {"beta": np.zeros(3)}, {"x": X, "y": Y, "z": Z}
# Two steps start from the identity, which is the inverse of Z'Z for these.
ORTHONORMAL = {**DATA, "z": Z @ np.linalg.cholesky(np.linalg.inv(Z.T @ Z))}


def linear(beta, x, y, z):
    return z * (y - x @ beta)[:, None]


def same(found, expected, tolerance):
    np.testing.assert_allclose(np.asarray(found), np.asarray(expected), rtol=tolerance, atol=tolerance * 1e-3)


@pytest.mark.parametrize(("weights", "steps"), [("identity", 1), ("two-step", 2), ("iterated", 500)])
def test_statsmodels(weights, steps):
    """Without centring: statsmodels takes the mean of all moments off each of them."""
    options = {"inv_weights": np.eye(5), "optim_args": {"disp": 0}, "wargs": {"centered": False}}
    true = gmm.LinearIVGMM(Y, X, Z).fit(maxiter=steps, **options)
    res = bh.GMM(linear, START, DATA, weights=weights).fit()
    tolerance = EXACT if steps < 3 else SEARCHED
    same(res.params, true.params, tolerance)
    same(res.bse, np.sqrt(np.diag(true._cov_params(has_optimal_weights=False))), tolerance)
    if steps > 1:
        assert res.j_test().statistic == pytest.approx(true.jval, rel=tolerance)
        found = res.j_test()
        assert (found.statistic, found.pvalue, found.df) == pytest.approx(true.jtest(), rel=tolerance)
    if (
        steps > 2
    ):  # in two steps statsmodels' efficient covariance has the weight of the estimate, and ours the one it was found with
        same(res.with_cov("nonrobust").bse, true.bse, tolerance)


def test_statsmodels_takes_the_identity_for_efficient():
    """Its errors of one step are those of the efficient weight, which is not the weight in use: the sandwich is larger."""
    true = gmm.LinearIVGMM(Y, X, Z).fit(maxiter=1, inv_weights=np.eye(5), optim_args={"disp": 0})
    res = bh.GMM(linear, START, DATA, weights="identity").fit()
    assert (true.bse < 0.99 * res.bse).any()


def test_statsmodels_nonlinear():
    true = gmm.NonlinearIVGMM(COUNTS, X, Z, lambda beta, x: np.exp(x @ beta))
    true = true.fit(
        np.zeros(3), maxiter=2, inv_weights=np.eye(5), optim_args={"disp": 0, "gtol": 1e-10}, wargs={"centered": False}
    )
    res = bh.GMM(
        lambda beta, x, y, z: z * (y - torch.exp(x @ beta))[:, None], START, {"x": X, "y": COUNTS, "z": Z}
    ).fit()
    same(res.params, true.params, SEARCHED)
    same(res.bse, np.sqrt(np.diag(true._cov_params(has_optimal_weights=False))), SEARCHED)
    assert res.j_test().statistic == pytest.approx(true.jval, rel=SEARCHED)


@pytest.mark.parametrize(("weights", "steps"), [("identity", 1), ("two-step", 2), ("iterated", 1000)])
@pytest.mark.parametrize("center", [False, True])
def test_linearmodels(weights, steps, center):
    model = IVGMM(Y, X[:, :2], X[:, 2:], Z[:, 2:], center=center)
    true = model.fit(iter_limit=steps, tol=1e-20, cov_type="robust")
    res = bh.GMM(linear, START, ORTHONORMAL, weights=weights, center=center).fit()
    same(res.params, true.params, EXACT)
    if not center:
        same(res.bse, true.std_errors, EXACT)
        for ours, options in {
            bh.Cluster(FIRM, "CR0"): {"cov_type": "clustered", "clusters": FIRM},
            bh.HAC(3): {"cov_type": "kernel", "kernel": "bartlett", "bandwidth": 3},
        }.items():
            same(res.with_cov(ours).bse, model.fit(iter_limit=steps, tol=1e-20, **options).std_errors, EXACT)
    if steps > 1:
        assert res.j_test().statistic == pytest.approx(true.j_stat.stat, rel=EXACT)


def test_linearmodels_continuously_updated():
    model = IVGMMCUE(Y, X[:, :2], X[:, 2:], Z[:, 2:])
    true = model.fit(cov_type="robust", opt_options={"options": {"gtol": 1e-10}})
    res = bh.GMM(linear, START, DATA, weights="continuously-updated").fit()
    same(res.params, true.params, SEARCHED)
    same(res.bse, true.std_errors, SEARCHED)
    centered = bh.GMM(linear, START, DATA, weights="continuously-updated", center=True).fit()
    same(
        centered.params, res.params, EXACT
    )  # the minimum is the same; this J of linearmodels' is that of centred moments
    assert centered.j_test().statistic == pytest.approx(true.j_stat.stat, rel=SEARCHED)


def test_two_stage_least_squares():
    true = IV2SLS(Y, X[:, :2], X[:, 2:], Z[:, 2:])
    res = bh.GMM(linear, START, ORTHONORMAL, weights="identity").fit()
    for ours, options in {
        "HC0": {"cov_type": "robust"},
        bh.Cluster(FIRM, "CR0"): {"cov_type": "clustered", "clusters": FIRM},
        bh.HAC(3): {"cov_type": "kernel", "kernel": "bartlett", "bandwidth": 3},
    }.items():
        expected = true.fit(debiased=False, **options)
        same(res.params, expected.params, EXACT)
        same(res.with_cov(ours).bse, expected.std_errors, EXACT)


@pytest.mark.parametrize("weights", ["two-step", "iterated", "continuously-updated"])
@pytest.mark.parametrize("center", [False, True])
def test_instruments_are_moments(weights, center):
    res = bh.GMM(linear, START, ORTHONORMAL, weights=weights, center=center).fit()
    true = bh.IVGMM(Y, X[:, :2], X[:, 2:], Z[:, 2:], weights=weights, center=center).fit()
    same(res.params, true.params, EXACT)
    for cov in ("nonrobust", "HC0", "HC1", bh.Cluster(FIRM), bh.HAC(3), bh.Bootstrap(9, "score", seed=1)):
        same(res.with_cov(cov).bse, true.with_cov(cov).bse, EXACT)
    assert res.j_test().statistic == pytest.approx(true.hansen_j().statistic, rel=EXACT)
