"""Replicates against naive loops of refits with the same weights, and against the equations of the textbook."""

import numpy as np
import pytest
import torch
from scipy import stats
from support.closeness import close_to_one
from support.resampled import FRAME, MODELS, WEIGHTED, G, N, X, fit_of, numpy_ols, refitted
from torch import nn

import betahat as bh
from betahat.resampling.counter import uniforms
from betahat.resampling.weights import (
    Exponential,
    Multinomial,
    Multipliers,
    PoissonCounts,
    Subsample,
)

# The issue's own: replicates agree with refits to ten digits.
DIGITS = 1e-10
# Statistics of random numbers leave this many standard errors once in 150,000 cases; seeds are fixed.
Z = 4.5

pytestmark = pytest.mark.filterwarnings("ignore::betahat.ClusterWarning")


@pytest.mark.slow
@pytest.mark.parametrize("kind", WEIGHTED)
@pytest.mark.parametrize("name", MODELS)
def test_replicates_are_refits_with_the_same_weights(name, kind):
    options = {"block_length": 6} if "block" in kind or kind == "stationary" else {}
    res = fit_of(name).with_cov(bh.Bootstrap(12, kind, seed=3, **options))
    weights = WEIGHTED[kind](3, torch.arange(12)).to(torch.float64)
    assert res.cov.resampling.failed == 0
    for draw, row in zip(res.cov.draws, weights, strict=True):
        close_to_one(draw, refitted(res, row), DIGITS, name)
        if name.startswith("OLS"):
            close_to_one(
                draw, numpy_ols(np.asarray(res.fit.sample.exog), FRAME.y.to_numpy(), row.numpy()), DIGITS, name
            )


@pytest.mark.parametrize("kind", WEIGHTED)
@pytest.mark.parametrize("name", ["WLS", "Logit", "Logit, weights", "Probit", "Poisson"])
def test_replicates_solve_the_equations_of_the_textbook(name, kind):
    """Sum of w x (dmu/deta) (y - mu) / V = 0, in NumPy: betahat's own solver is no witness."""
    options = {"block_length": 6} if "block" in kind or kind == "stationary" else {}
    res = fit_of(name).with_cov(bh.Bootstrap(12, kind, seed=3, **options))
    mean, variance, slope = _links(name.split(",")[0])
    own = FRAME.w.to_numpy() if name in ("WLS", "Logit, weights") else np.ones(N)
    offset = {"Logit": FRAME.o, "Poisson": np.log(FRAME.w)}.get(name, 0.0 * FRAME.o).to_numpy()
    y = np.asarray(res.fit.sample.endog, dtype=float)
    weights = WEIGHTED[kind](3, torch.arange(12)).to(torch.float64).numpy()
    for draw, row in zip(res.cov.draws.numpy(), weights, strict=True):
        at = X @ draw + offset
        terms = X * (own * row * slope(at) / variance(at) * (y - mean(at)))[:, None]
        assert np.abs(terms.sum(0)).max() < 1e-11 * np.abs(terms).sum()


@pytest.mark.parametrize("kind", ["pairs", "bayesian", "circular-block"])
def test_replicates_of_a_network_have_no_gradient(kind):
    """By torch alone: the weighted loss of the module at a replicate, and at the estimate for its size."""
    options = {"block_length": 6} if "block" in kind else {}
    res = fit_of("network").with_cov(bh.Bootstrap(12, kind, seed=3, **options))
    sample = res.fit.sample
    (inputs, target), module = (
        map(sample.column, sample.data),
        nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 1)).double(),
    )
    weights = WEIGHTED[kind](3, torch.arange(12)).to(torch.float64)
    for draw, row in zip(res.cov.draws, weights, strict=True):
        gradients = []
        for params in (draw, res.fit.params):
            nn.utils.vector_to_parameters(params, module.parameters())
            module.zero_grad()
            (row @ (module(inputs) - target).square()).sum().backward()
            gradients.append(nn.utils.parameters_to_vector(p.grad for p in module.parameters()).abs().max())
        assert gradients[0] < DIGITS * gradients[1]


@pytest.mark.parametrize("kind", ["pairs", "bayesian", "poisson"])
@pytest.mark.parametrize("name", ["OLS", "WLS", "Logit", "MNLogit", "linear module"])
def test_replicates_of_clusters_are_refits(name, kind):
    groups = FRAME.g.to_numpy().copy()
    res = fit_of(name).with_cov(bh.Bootstrap(12, kind, seed=3, clusters=groups))
    schemes = {"pairs": Multinomial(G, G), "bayesian": Exponential(G), "poisson": PoissonCounts(G)}
    weights = schemes[kind](3, torch.arange(12)).to(torch.float64)[:, groups]
    kept = iter(res.cov.draws)
    for row in weights[res.cov.resampling.found.found]:
        close_to_one(next(kept), refitted(res, row), DIGITS, name)
    assert next(kept, None) is None


@pytest.mark.parametrize(("kind", "scale"), [("subsample", 50 / 70), ("m-out-of-n", 50 / 120)])
@pytest.mark.parametrize("name", ["OLS", "Poisson"])
def test_smaller_samples_are_scaled(name, kind, scale):
    res = fit_of(name).with_cov(bh.Bootstrap(12, kind, seed=3, size=50))
    scheme = Subsample(N, 50) if kind == "subsample" else Multinomial(N, 50)
    estimate = res.fit.params
    for draw, row in zip(res.cov.draws, scheme(3, torch.arange(12)).to(torch.float64), strict=True):
        close_to_one(draw, estimate + scale**0.5 * (refitted(res, row) - estimate), DIGITS, name)


@pytest.mark.parametrize("name", ["OLS", "WLS", "Logit", "Probit", "Poisson", "MNLogit"])
def test_parametric_replicates_are_refits_of_drawn_data(name):
    res = fit_of(name).with_cov(bh.Bootstrap(8, "parametric", seed=3))
    uniform = uniforms(3, 0, torch.arange(8), N).numpy()
    mean = np.asarray(res.fittedvalues) if name in ("OLS", "WLS") else np.asarray(res.predict())
    for draw, u in zip(res.cov.draws, uniform, strict=True):
        if name in ("OLS", "WLS"):
            spread = np.sqrt(res.scale / (FRAME.w.to_numpy() if name == "WLS" else 1.0))
            y = mean + stats.norm.ppf(u) * spread
        elif name == "MNLogit":
            y = (u[:, None] > mean.cumsum(1)[:, :-1]).sum(1)
        else:
            y = (u < mean) * 1.0 if name != "Poisson" else stats.poisson.ppf(u, mean)
        y = torch.tensor(y).to(res.fit.sample.endog.dtype)
        close_to_one(draw, refitted(res, None, y), DIGITS, name)


@pytest.mark.parametrize("residuals", ["raw", "HC2", "HC3"])
@pytest.mark.parametrize("name", ["OLS", "WLS", "Logit", "Probit", "Poisson"])
def test_residual_replicates_solve_the_equations_of_drawn_residuals(name, residuals):
    res = fit_of(name).with_cov(bh.Bootstrap(8, "residual", seed=3, residuals=residuals))
    rows = Multinomial(N, N).indices(3, torch.arange(8)).numpy()
    w = FRAME.w.to_numpy() if name == "WLS" else np.ones(N)
    y, estimate = np.asarray(res.fit.sample.endog, dtype=float), np.asarray(res.fit.params)
    offset = {"Logit": FRAME.o, "Poisson": np.log(FRAME.w)}.get(name, 0.0 * FRAME.o).to_numpy()
    mean, variance, slope = _links(name)
    eta = X @ estimate + offset
    half = X * np.sqrt(w * slope(eta) ** 2 / variance(eta))[:, None]
    leverage = ((half @ np.linalg.inv(half.T @ half)) * half).sum(1)
    power = {"raw": 0, "HC2": 0.5, "HC3": 1}[residuals]
    pearson = (y - mean(eta)) * np.sqrt(w / variance(eta)) / (1 - _leverage(res, leverage)) ** power
    pearson = pearson - pearson.mean()
    for draw, drawn in zip(res.cov.draws.numpy(), pearson[rows], strict=True):
        target = mean(eta) + np.sqrt(variance(eta) / w) * drawn
        at = X @ draw + offset
        score = X.T @ (w * slope(at) / variance(at) * (target - mean(at)))
        start = X.T @ (w * slope(eta) / variance(eta) * (target - mean(eta)))
        assert np.abs(score).max() < 1e-9 * np.abs(start).max()


def _links(name):
    if name in ("OLS", "WLS"):
        return (lambda e: e), np.ones_like, np.ones_like
    if name == "Poisson":
        return np.exp, np.exp, np.exp
    if name == "Logit":
        p = lambda e: 1 / (1 + np.exp(-e))  # noqa: E731
        return p, (lambda e: p(e) * (1 - p(e))), (lambda e: p(e) * (1 - p(e)))
    return stats.norm.cdf, (lambda e: stats.norm.cdf(e) * stats.norm.sf(e)), stats.norm.pdf


def _leverage(res, expected):
    """Leverage of the bread in use: for Probit that of the observed Hessian."""
    return (
        np.asarray(res.fit.map_rows(lambda rows: rows.leverage)) if type(res.model).__name__ == "Probit" else expected
    )


def test_wild_replicates_are_refits_of_residuals_times_signs():
    for residuals, power in (("raw", 0), ("HC2", 0.5), ("HC3", 1)):
        res = fit_of("OLS").with_cov(bh.Bootstrap(10, "wild", seed=3, multiplier="webb", residuals=residuals))
        signs = Multipliers(N, "webb")(3, torch.arange(10)).numpy()
        fitted, errors = np.asarray(res.fittedvalues), np.asarray(res.resid)
        leverage = np.asarray(res.get_influence().hat_matrix_diag)
        for draw, sign in zip(res.cov.draws, signs, strict=True):
            y = fitted + errors * (1 - leverage) ** -power * sign
            close_to_one(draw, numpy_ols(X, y, np.ones(N)), DIGITS, "OLS")


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("clustered", [False, True])
def test_score_replicates_are_steps_along_multiplied_scores(name, clustered):
    groups = FRAME.g.to_numpy().copy()
    res = fit_of(name).with_cov(bh.Bootstrap(10, "score", seed=3, clusters=groups if clustered else None))
    fit = res.fit
    scores = fit.map_rows(lambda rows: rows.scores())
    if clustered:
        scores = torch.stack([scores[groups == g].sum(0) for g in range(G)])
    scores = scores - (scores.mean(0) if name == "penalised" else 0.0)
    signs = Multipliers(len(scores), "rademacher")(3, torch.arange(10))
    close_to_one(res.cov.draws, fit.params + signs @ scores @ fit.bread, DIGITS, name)


def test_all_signs_have_the_covariance_cr0_and_cr3():
    groups = FRAME.g.to_numpy().copy()
    res = fit_of("OLS").with_cov(bh.Bootstrap(2000, "wild", clusters=groups))
    assert len(res.cov.draws) == 2**G
    np.testing.assert_allclose(res.cov_params(), res.with_cov(bh.Cluster(groups, "CR0")).cov_params(), rtol=1e-11)
    other = res.with_cov(bh.Bootstrap(2000, "wild", clusters=groups, variant="33"))
    np.testing.assert_allclose(other.cov_params(), res.with_cov(bh.Cluster(groups, "CR3")).cov_params(), rtol=1e-11)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("score", "HC0"),
        ("wild", "HC0"),
        ("residual", "nonrobust"),
        ("parametric", "nonrobust"),
        ("pairs", "HC1"),
        ("bayesian", "HC0"),
    ],
)
def test_covariances_are_what_theory_says(kind, expected):
    r = np.random.default_rng(5)
    x = np.c_[np.ones(2000), r.normal(size=2000)]
    res = bh.OLS(x.sum(1) + r.normal(size=2000) * (1 + np.abs(x[:, 1])), x).fit()
    found = res.with_cov(bh.Bootstrap(4000, kind, seed=1)).bse / res.with_cov(expected).bse
    assert np.abs(found - 1).max() < Z / (2 * 4000) ** 0.5 + 1 / 2000**0.5 / 2
