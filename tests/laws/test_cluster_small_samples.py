"""CR2 and CR3 by their definition, matrices of n by n, and what use_t makes of them."""

import numpy as np
import pytest
from scipy import stats
from support.closeness import same_covariance
from support.clustered import MODELS, ORDER, UNIT, G, N, W, X, Y

import betahat as bh

# The same sums of products in another order; optima to 1e-12 standard errors.
ROUNDING = 1e-9

pytestmark = [
    pytest.mark.filterwarnings("ignore::betahat.ClusterWarning"),  # test_cluster_messages.py has them
    pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning"),
]


@pytest.fixture(scope="module")
def clustered():
    """Every model's fit, which no test changes."""
    return {name: model(ORDER).fit("HC0") for name, model in MODELS.items()}


def power(matrix, power):
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * values**power) @ vectors.T


def _adjusted_by_definition(kind, w, target, contrast):
    """Return the variance of c'b, Satterthwaite's df, and the matrix, with Pustejovsky and Tipton's A_g = D' B^(-1/2) D."""
    bread = np.linalg.inv(X.T @ (w[:, None] * X))
    left = np.eye(N) - X @ bread @ (X.T * w)
    phi = np.diag(1 / w if target == "inverse_weights" else np.ones(N))
    e, meat, vectors = left @ Y, 0, []
    for g in range(G):
        i = np.flatnonzero(g == UNIT)
        if kind == "CR2":
            d = np.sqrt(phi[np.ix_(i, i)])
            adjust = d @ power(d @ (left @ phi @ left.T)[np.ix_(i, i)] @ d, -0.5) @ d
        else:
            adjust = np.linalg.inv(left[np.ix_(i, i)])
        rows = (X[i].T * w[i]) @ adjust
        meat = meat + np.outer(rows @ e[i], rows @ e[i])
        vectors.append(left[i].T @ rows.T @ bread @ contrast)
    p = np.array([[v @ phi @ u for u in vectors] for v in vectors])
    matrix = bread @ meat @ bread
    return contrast @ matrix @ contrast, np.trace(p) ** 2 / (p**2).sum(), matrix


@pytest.mark.parametrize("target", ["identity", "inverse_weights"])
@pytest.mark.parametrize("kind", ["CR2", "CR3"])
@pytest.mark.parametrize("name", ["OLS", "WLS"])
def test_small_samples_by_definition(name, kind, target, clustered):
    res = clustered[name].with_cov(bh.Cluster(UNIT, kind, target=target))
    w = W if name == "WLS" else np.ones(N)
    for contrast in (*np.eye(3), np.array([0.0, 1.0, -1.0]), np.array([1.0, 2.0, 0.5])):
        variance, df, matrix = _adjusted_by_definition(kind, w, target, contrast)
        test = res.t_test(contrast)
        same_covariance(res.cov_params(), matrix, ROUNDING)
        assert float(np.ravel(test.sd)[0]) ** 2 == pytest.approx(variance, rel=ROUNDING)
        assert float(np.ravel(test.df_denom)[0]) == pytest.approx(df, rel=ROUNDING)
        z = contrast @ res.params / np.sqrt(variance)
        assert float(test.pvalue) == pytest.approx(2 * stats.t.sf(abs(z), df), rel=1e-7)
    df = [_adjusted_by_definition(kind, w, target, c)[1] for c in np.eye(3)]
    np.testing.assert_allclose(res.cov.df, df, rtol=ROUNDING)
    one = res.f_test(np.array([[0.0, 1.0, -1.0]]))
    assert one.pvalue == pytest.approx(float(res.t_test([0.0, 1.0, -1.0]).pvalue), rel=1e-7)


def test_use_t_of_small_samples(clustered):
    """use_t=False takes the normal distribution, and chi-squared for joint tests."""
    res = clustered["OLS"].with_cov(bh.Cluster(UNIT, "CR2"), use_t=False)
    assert not res.use_t
    np.testing.assert_allclose(res.pvalues, 2 * stats.norm.sf(np.abs(res.tvalues)), rtol=1e-7)
    assert res.wald_test(np.eye(3)[1:]).distribution == "chi2"
