"""CR2 where the errors' variances differ between rows: sums of shifted inverses are the inverse root of an m x m matrix."""

import numpy as np
import pytest
import torch

import betahat as bh
from betahat.covariance.adjustments import half_of_rows
from betahat.solvers.roots import inverse_root_terms

# Rounding of eigenvectors, of which the smallest eigenvalues leave less.
ROUNDING = 1e-12


@pytest.mark.parametrize("condition", [1.0, 3.0, 1e2, 1e5, 1e10, 1e20, 1e40])
def test_terms_of_an_inverse_root(condition):
    shifts, factors = inverse_root_terms(condition)
    x = torch.logspace(-np.log10(condition), 0.0, 2001, dtype=torch.float64)
    found = (factors / (x[:, None] + shifts)).sum(1)
    torch.testing.assert_close(found * x.sqrt(), torch.ones_like(x), rtol=0.0, atol=1e-14)


def _cluster(rng, size, width, spread, nearly=(), fixed=0):
    """Return (m, r) U whose U'U has ones, and given eigenvalues 1 - d, in any directions, (m,) e and f."""
    u = rng.normal(size=(size, width)) * 0.03
    left, values, right = np.linalg.svd(u, full_matrices=False)
    values[: len(nearly)] = np.sqrt(1.0 - np.array(nearly))
    values[len(nearly) : len(nearly) + fixed] = 1.0
    return left * values @ right, rng.normal(size=size), spread ** -rng.random(size)


def _by_eigenvectors(u, e, f, fixed):
    """Return K'e, K'K and U'K of K = f B^(-1/2) U, without the directions that the cluster fixes."""
    b = np.diag(f**2) - (f[:, None] * u) @ (f[:, None] * u).T
    values, vectors = np.linalg.eigh(b)
    k = f[:, None] * (vectors[:, fixed:] / np.sqrt(values[fixed:])) @ (vectors[:, fixed:].T @ u)
    return k.T @ e, k.T @ k, u.T @ k


CASES = {
    "plain": {"spread": 20.0},
    "one variance": {"spread": 1.0},
    "three orders": {"spread": 1e3},
    "large leverage": {"spread": 20.0, "nearly": (0.3, 0.05)},
    "nearly fixed": {"spread": 20.0, "nearly": (1e-5, 1e-3)},
    "fixed": {"spread": 20.0, "fixed": 1},
    "two fixed, one nearly": {"spread": 20.0, "nearly": (1e-4,), "fixed": 2},
    "all fixed": {"spread": 5.0, "fixed": 4},
}


@pytest.mark.parametrize("width", [4, 5, 9])
@pytest.mark.parametrize("case", CASES)
def test_all_clusters_of_a_batch(case, width):
    """Beside clusters of other kinds, and rows that do not count."""
    rng = np.random.default_rng(width)
    chosen = [CASES[name] for name in (case, "plain", case, "fixed")]
    clusters = [_cluster(rng, 80, width, **options) for options in chosen]
    counts = [options.get("fixed", 0) for options in chosen]
    rows = np.zeros((4, 86, width + 2))
    for whole, (u, e, f) in zip(rows, clusters, strict=True):
        whole[3:-3] = np.column_stack([u, e, f * 7.0])
    found = half_of_rows(torch.as_tensor(rows))
    assert found.fixed.tolist() == [count > 0 for count in counts]
    for g, ((u, e, f), fixed, options) in enumerate(zip(clusters, counts, chosen, strict=True)):
        least = min(options.get("nearly", (1.0,))) / options["spread"]
        for part, true in zip(found[:3], _by_eigenvectors(u, e, f, fixed), strict=True):
            np.testing.assert_allclose(part[g], true, atol=ROUNDING / least * np.abs(true).max(), rtol=0.0)


def _variance(make, data, groups, **options):
    """Return V and degrees of freedom."""
    res = make(data).fit(bh.Cluster(groups, "CR2", **options))
    return np.asarray(res.cov_params()), np.asarray(res.cov.df)


MODELS = {
    "Logit": lambda d: bh.Logit(d["yes"], d["x"]),
    "Logit with counts": lambda d: bh.Logit(d["yes"], d["x"], freq_weights=d["often"]),
    "Probit with weights": lambda d: bh.Probit(d["yes"], d["x"], weights=d["w"]),
    "Poisson with offset": lambda d: bh.Poisson(d["count"], d["x"], offset=d["o"]),
    "WLS": lambda d: bh.WLS(d["y"], d["x"], weights=d["w"]),
}


def _data(dummy=False):
    """Return data of clusters of 1 to 200 rows, one of which a dummy fixes."""
    rng = np.random.default_rng(8)
    groups = np.repeat(np.arange(12), [1, 1, 2, 3, 5, 8, 13, 21, 60, 61, 120, 200])
    rng.shuffle(groups)
    n = len(groups)
    x = np.column_stack([np.ones(n), rng.normal(size=(n, 2)), rng.normal(size=12)[groups]])
    x = np.column_stack([x, groups == 10]) if dummy else x
    index = 0.5 * x[:, 1] - x[:, 2]
    return groups, {
        "x": x,
        "y": index + rng.normal(size=n),
        "yes": (index + rng.logistic(size=n) > 0) * 1.0,
        "count": rng.poisson(np.exp(0.5 * index)) * 1.0,
        "often": rng.integers(0, 4, n),
        "w": np.where(np.arange(n) % 9 == 4, 0.0, rng.uniform(0.2, 3.0, n)),
        "o": 0.1 * rng.normal(size=n),
    }


@pytest.mark.filterwarnings("ignore::betahat.ClusterWarning")
@pytest.mark.parametrize("dummy", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_both_ways_give_the_same(name, dummy, monkeypatch):
    groups, data = _data(dummy)
    found = _variance(MODELS[name], data, groups, target="inverse_weights")
    monkeypatch.setattr("betahat.covariance.adjustments._FEW_ROWS", np.inf)
    for part, true in zip(found, _variance(MODELS[name], data, groups, target="inverse_weights"), strict=True):
        np.testing.assert_allclose(part, true, rtol=0.0, atol=1e-11 * np.abs(true).max())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::betahat.ClusterWarning")
@pytest.mark.parametrize("numbers", [1, 400, 2**30])
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("kind", ["CR2", "CR3", "jackknife"])
def test_batches_are_of_any_size(name, kind, numbers, monkeypatch):
    groups, data = _data()
    estimators = [bh.Cluster(groups, kind, target=t) for t in ("identity", "inverse_weights")]
    estimators += [bh.Jackknife(groups)] if kind == "jackknife" else []
    plain = [MODELS[name](data).fit(estimator) for estimator in estimators]
    monkeypatch.setattr("betahat.covariance.cr2_cr3._NUMBERS", numbers)
    monkeypatch.setattr("betahat.covariance.adjustments._NUMBERS", numbers)
    monkeypatch.setattr("betahat.covariance.satterthwaite._NUMBERS", numbers)
    for estimator, other in zip(estimators, plain, strict=True):
        res = MODELS[name](data).fit(estimator)
        scale = np.sqrt(np.diag(other.cov_params()))
        change = (res.cov_params() - other.cov_params()) / np.outer(scale, scale)
        np.testing.assert_allclose(change, np.zeros_like(change), rtol=0.0, atol=1e-11)
        np.testing.assert_allclose(res.pvalues, other.pvalues, rtol=1e-9)
        found, true = (r.wald_test(np.eye(4)[1:], use_f=True, scalar=True) for r in (res, other))
        assert found.pvalue == pytest.approx(true.pvalue, rel=1e-9)


@pytest.mark.filterwarnings("ignore::betahat.ClusterWarning")
def test_rows_that_occur_more_than_once():
    """Frequency weights are rows that are there as often."""
    groups, data = _data()
    often = data["often"]
    repeated = {key: np.repeat(part, often, axis=0) for key, part in data.items()}
    found = _variance(MODELS["Logit with counts"], data, groups)
    for part, true in zip(found, _variance(MODELS["Logit"], repeated, np.repeat(groups, often)), strict=True):
        np.testing.assert_allclose(part, true, rtol=1e-9)


def test_a_large_cluster_needs_no_matrix_of_its_rows():
    """Two hundred thousand rows in four clusters would have taken 161 GB."""
    rng = np.random.default_rng(4)
    x = np.column_stack([np.ones(200_000), rng.normal(size=(200_000, 2))])
    yes = (rng.random(len(x)) < 1 / (1 + np.exp(-x[:, 1]))) * 1.0
    res = bh.Logit(yes, x).fit(bh.Cluster(np.arange(len(x)) % 4, "CR2"))
    plain = res.with_cov(bh.Cluster(np.arange(len(x)) % 4, "CR3"))
    assert np.isfinite(res.bse).all()
    assert (res.bse < plain.bse).all()
