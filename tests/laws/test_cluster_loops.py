"""Clusters, lags, panels and places by naive loops, and the laws of single rows and of no lags."""

import itertools

import numpy as np
import pytest
from support.closeness import same_covariance
from support.clustered import FIRM, MODELS, ORDER, UNIT, YEAR, G, N, T, X, Y, bread_and_scores, matrix_of, sandwich

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


@pytest.mark.parametrize("name", MODELS)
def test_a_loop_over_clusters(name, clustered):
    bread, scores = bread_and_scores(name, clustered[name])
    plain = sandwich(bread, [scores[g == UNIT].sum(0) for g in range(G)])
    same_covariance(matrix_of(clustered[name], bh.Cluster(UNIT, "CR0")), plain, ROUNDING)
    k = len(bread)
    factors = {"CR1": G / (G - 1), "CR1p": G / (G - k), "CR1S": G / (G - 1) * (N - 1) / (N - k)}
    for kind, factor in factors.items():
        same_covariance(matrix_of(clustered[name], bh.Cluster(UNIT, kind)), factor * plain, ROUNDING)


@pytest.mark.parametrize("kernel", ["bartlett", "parzen", "tukey-hanning", "truncated"])
@pytest.mark.parametrize("name", MODELS)
def test_a_loop_over_lags(name, kernel, clustered):
    bread, scores = bread_and_scores(name, clustered[name])
    weight = {
        "bartlett": lambda x: 1 - x,
        "parzen": lambda x: 1 - 6 * x**2 + 6 * x**3 if x < 0.5 else 2 * (1 - x) ** 3,
        "tukey-hanning": lambda x: 0.5 * (1 + np.cos(np.pi * x)),
        "truncated": lambda x: 1.0,
    }[kernel]
    for lags in (0, 1, 5):
        meat = sum(
            weight(abs(t - s) / (lags + 1)) * np.outer(scores[t], scores[s])
            for t, s in itertools.product(range(N), repeat=2)
            if abs(t - s) <= lags
        )
        same_covariance(matrix_of(clustered[name], bh.HAC(lags, kernel)), bread @ meat @ bread, ROUNDING)


@pytest.mark.parametrize("name", ["OLS", "Poisson", "MNLogit", "TorchModel"])
def test_loops_over_a_panel(name, clustered):
    bread, scores = bread_and_scores(name, clustered[name])

    def squeezed(together):
        pairs = itertools.product(range(N), repeat=2)
        near = ((t, s, max(0.0, 1 - abs(YEAR[t] - YEAR[s]) / 3)) for t, s in pairs if together(t, s))
        return bread @ sum(w * np.outer(scores[t], scores[s]) for t, s, w in near) @ bread

    within = squeezed(lambda t, s: FIRM[t] == FIRM[s])
    same_covariance(matrix_of(clustered[name], bh.PanelNeweyWest(FIRM, YEAR, 2, correction=None)), within, ROUNDING)
    same_covariance(matrix_of(clustered[name], bh.PanelNeweyWest(FIRM, None, 2, correction=None)), within, ROUNDING)
    across = squeezed(lambda t, s: True)
    same_covariance(matrix_of(clustered[name], bh.DriscollKraay(YEAR, 2, correction=None)), across, ROUNDING)


@pytest.mark.parametrize("name", ["OLS", "WLS", "Logit"])
def test_a_loop_over_places(name, clustered):
    bread, scores = bread_and_scores(name, clustered[name])
    north, east = 40 + 5 * np.random.default_rng(1).uniform(size=N), 8 * np.random.default_rng(2).uniform(size=N)
    a, b = np.radians(north), np.radians(east)
    square = np.sin((a[:, None] - a) / 2) ** 2 + np.cos(a[:, None]) * np.cos(a) * np.sin((b[:, None] - b) / 2) ** 2
    apart = 2 * 6376.0 * np.arcsin(np.sqrt(square))
    near = (apart <= 150.0).astype(float)
    same_covariance(
        matrix_of(clustered[name], bh.Conley(north, east, 150.0)), bread @ scores.T @ near @ scores @ bread, ROUNDING
    )
    near = near * (1 - apart / 150.0)
    same_covariance(
        matrix_of(clustered[name], bh.Conley(north, east, 150, "bartlett")),
        bread @ scores.T @ near @ scores @ bread,
        ROUNDING,
    )
    near = (np.hypot(north[:, None] - north, east[:, None] - east) <= 1.5).astype(float)
    same_covariance(
        matrix_of(clustered[name], bh.Conley(north, east, 1.5, distance="planar")),
        bread @ scores.T @ near @ scores @ bread,
        ROUNDING,
    )


def test_panel_corrected_is_a_loop_over_periods(clustered):
    res = clustered["OLS"]
    e, bread = Y - X @ res.params, np.linalg.inv(X.T @ X)
    sigma = e.reshape(G, T) @ e.reshape(G, T).T / T
    pairs = ((i, j) for i, j in itertools.product(range(N), repeat=2) if YEAR[i] == YEAR[j])
    meat = sum(sigma[FIRM[i], FIRM[j]] * np.outer(X[i], X[j]) for i, j in pairs)
    for pairwise in (False, True):
        same_covariance(matrix_of(res, bh.PanelCorrected(FIRM, YEAR, pairwise)), bread @ meat @ bread, ROUNDING)


# every row its own cluster


# What has one leverage for a row. WLS by the target of HC2 and HC3, the weights.
@pytest.mark.parametrize("name", [name for name in MODELS if name not in ("MNLogit", "MEstimator")])
def test_every_row_its_own_cluster(name, clustered):
    res = clustered[name]
    for labels in (np.arange(N), [f"row {i}" for i in range(N)]):
        for kind, hc in (("CR0", "HC0"), ("CR2", "HC2"), ("CR3", "HC3")):
            same_covariance(
                matrix_of(res, bh.Cluster(labels, kind, target="inverse_weights")), matrix_of(res, hc), ROUNDING
            )


@pytest.mark.parametrize("name", ["MNLogit", "MEstimator"])
def test_every_row_its_own_cluster_without_leverage(name, clustered):
    same_covariance(
        matrix_of(clustered[name], bh.Cluster(np.arange(N), "CR0")), matrix_of(clustered[name], "HC0"), ROUNDING
    )


@pytest.mark.parametrize("name", MODELS)
def test_no_lags(name, clustered):
    res = clustered[name]
    same_covariance(matrix_of(res, bh.HAC(0)), matrix_of(res, "HC0"), ROUNDING)
    same_covariance(matrix_of(res, bh.HAC(bandwidth=0.5)), matrix_of(res, "HC0"), ROUNDING)
    same_covariance(matrix_of(res, bh.HAC(0, correction=True)), matrix_of(res, "HC1"), ROUNDING)
    same_covariance(matrix_of(res, bh.PanelNeweyWest(FIRM, YEAR, 0, correction=None)), matrix_of(res, "HC0"), ROUNDING)
    same_covariance(matrix_of(res, bh.DriscollKraay(YEAR, 0)), matrix_of(res, bh.Cluster(YEAR, "CR1S")), ROUNDING)
    same_covariance(
        matrix_of(res, bh.DriscollKraay(np.arange(N), 4, correction=None)), matrix_of(res, bh.HAC(4)), ROUNDING
    )
    same_covariance(
        matrix_of(res, bh.PanelNeweyWest(np.arange(N) // (N // 2), maxlags=0)), matrix_of(res, "HC1"), ROUNDING
    )
    whole = bh.PanelNeweyWest(FIRM, YEAR, T - 1, "truncated", correction=None)
    same_covariance(matrix_of(res, whole), matrix_of(res, bh.Cluster(FIRM, "CR0")), ROUNDING)
    same_covariance(
        matrix_of(res, bh.Conley(FIRM, FIRM, 1e-9, distance="planar")),
        matrix_of(res, bh.Cluster(FIRM, "CR0")),
        ROUNDING,
    )
