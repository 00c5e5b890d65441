"""The bootstrap against naive loops of refits with the same weights, and the laws of its random numbers, intervals and tests."""

import pickle
from contextlib import nullcontext

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from torch import nn

import betahat as bh
from betahat.fits.refits import refit_on
from betahat.resampling import counter, moments, refits, resamplers
from betahat.resampling.counter import integers, philox, random_bits, uniforms, words
from betahat.resampling.weights import (
    MULTIPLIERS,
    AllSigns,
    Blocks,
    Exponential,
    Multinomial,
    Multipliers,
    PoissonCounts,
    Subsample,
)
from betahat.resampling.wild import Statistics

# The issue's own: replicates agree with refits to ten digits.
DIGITS = 1e-10
# Statistics of random numbers leave this many standard errors once in 150,000 cases; seeds are fixed.
Z = 4.5
N, G = 120, 9

pytestmark = pytest.mark.filterwarnings("ignore::betahat.ClusterWarning")


# random numbers


def _hex(tensors):
    return [f"{int(word) % 2**64:016x}" for word in tensors]


def _signed(word):
    return word - 2**64 if word >= 2**63 else word


# Random123's kat_vectors, philox4x64, ten rounds.
VECTORS = [
    ([0] * 4, (0, 0), "16554d9eca36314c db20fe9d672d0fdc d7e772cee186176b 7e68b68aec7ba23b"),
    ([2**64 - 1] * 4, (2**64 - 1,) * 2, "87b092c3013fe90b 438c3c67be8d0224 9cc7d7c69cd777b6 a09caebf594f0ba0"),
    (
        [0x243F6A8885A308D3, 0x13198A2E03707344, 0xA4093822299F31D0, 0x082EFA98EC4E6C89],
        (0x452821E638D01377, 0xBE5466CF34E90C6C),
        "a528f45403e61d95 38c72dbd566e9788 a5a1610e72fd18b5 57bd43b5e52b7fe6",
    ),
]


@pytest.mark.parametrize(("counters", "key", "published"), VECTORS)
def test_published_vectors(counters, key, published):
    assert _hex(philox(*[torch.tensor(_signed(c)) for c in counters], key=key)) == published.split()


def test_numpy_and_tensors_make_the_same_bits(monkeypatch):
    replicates = torch.tensor([0, 1, 77, 2**33])
    monkeypatch.setattr(counter, "_MANY", 1)
    by_numpy = random_bits(2**63 + 5, 3, replicates, 301)
    monkeypatch.setattr(counter, "_MANY", 10**9)
    assert torch.equal(by_numpy, random_bits(2**63 + 5, 3, replicates, 301))


def test_every_device_makes_the_same_weights(device):
    here, there = torch.arange(9), torch.arange(9, device=device)
    for scheme in _schemes(300):
        torch.testing.assert_close(scheme(6, there).cpu(), scheme(6, here), rtol=1e-14, atol=0)


def test_every_device_draws_the_same_estimates(device):
    x, y = torch.tensor(X), torch.tensor(FRAME.y.to_numpy().copy())
    there = bh.OLS(y.to(device), x.to(device)).fit(bh.Bootstrap(30, seed=1)).cov.draws
    assert there.device.type == device.type
    torch.testing.assert_close(
        there.cpu(), bh.OLS(y, x).fit(bh.Bootstrap(30, seed=1)).cov.draws, rtol=1e-10, atol=1e-12
    )


@pytest.mark.parametrize("draw", [words, uniforms, lambda *a: integers(*a, 1000), lambda *a: integers(*a, 2**21)])
def test_numbers_are_a_function_of_their_place(draw):
    replicates = torch.arange(20)
    whole = draw(9, 1, replicates, 999)
    assert torch.equal(draw(9, 1, replicates[[3, 17]], 500), whole[[3, 17], :500])
    for other in (draw(10, 1, replicates, 999), draw(9, 2, replicates, 999), draw(9, 1, replicates + 20, 999)):
        assert not torch.equal(other, whole)


def test_numbers_are_uniform():
    drawn = uniforms(1, 0, torch.arange(200), 1000).flatten().numpy()
    assert stats.kstest(drawn, "uniform").pvalue > 1e-5
    for below in (6, 1000, 2**21):
        counts = np.bincount(integers(2, 0, torch.arange(200), 1000, below).flatten().numpy() * 6 // below, minlength=6)
        assert stats.chisquare(counts).pvalue > 1e-5


def _schemes(units):
    return [
        Multinomial(units, units),
        Multinomial(units, units // 2),
        Subsample(units, units // 3),
        Exponential(units),
        PoissonCounts(units),
        *(Multipliers(units, kind) for kind in MULTIPLIERS),
        AllSigns(units),
        Blocks(units, 4, "moving"),
        Blocks(units, 4, "circular"),
        Blocks(units, 4.5, "stationary"),
    ]


@pytest.mark.parametrize("scheme", _schemes(30), ids=str)
def test_weights_do_not_depend_on_the_batch(scheme):
    whole = scheme(4, torch.arange(100))
    assert torch.equal(scheme(4, torch.tensor([70, 5])), whole[[70, 5]])


# mean, variance and third moment of a weight
MOMENTS = {
    Exponential: (1, 1, 2),
    PoissonCounts: (1, 1, 1),
    "rademacher": (0, 1, 0),
    "mammen": (0, 1, 1),
    "webb": (0, 1, 0),
    "normal": (0, 1, 0),
}


@pytest.mark.parametrize("key", MOMENTS, ids=str)
def test_moments_of_weights(key):
    mean, variance, third = MOMENTS[key]
    scheme = Multipliers(100, key) if isinstance(key, str) else key(100)
    drawn = scheme(8, torch.arange(4000)).to(torch.float64).flatten().numpy()
    for values, expected in ((drawn, mean), ((drawn - mean) ** 2, variance), ((drawn - mean) ** 3, third)):
        assert abs(values.mean() - expected) <= Z * values.std() / len(values) ** 0.5


def test_poisson_counts_have_their_probabilities():
    counts = np.bincount(PoissonCounts(500)(1, torch.arange(400)).flatten().numpy(), minlength=9)
    expected = stats.poisson(1).pmf(np.arange(8))
    found = np.r_[counts[:8], counts[8:].sum()]
    assert stats.chisquare(found, np.r_[expected, 1 - expected.sum()] * counts.sum()).pvalue > 1e-5


def test_counts_add_up():
    replicates = torch.arange(50)
    assert (Multinomial(20, 13)(0, replicates).sum(1) == 13).all()
    subsample = Subsample(20, 7)(0, replicates)
    assert (subsample.sum(1) == 7).all()
    assert subsample.max() == 1
    for kind in ("moving", "circular", "stationary"):
        assert (Blocks(20, 3, kind)(0, replicates).sum(1) == 20).all()
    assert len({tuple(row.tolist()) for row in AllSigns(6)(0, torch.arange(64))}) == 64


def test_multinomial_counts_have_their_covariance():
    counts = Multinomial(5, 5)(3, torch.arange(20_000)).to(torch.float64)
    centred = counts - 1
    products = centred[:, :, None] * centred[:, None]
    expected = torch.eye(5) - 0.2
    assert ((products.mean(0) - expected).abs() < Z * products.std(0) / len(counts) ** 0.5).all()


@pytest.mark.parametrize("kind", ["moving", "circular", "stationary"])
def test_blocks_are_consecutive(kind):
    drawn = Blocks(50, 5, kind).indices(7, torch.arange(2000))
    follows = drawn[:, 1:] == (drawn[:, :-1] + 1) % 50
    if kind == "stationary":
        share = follows.to(torch.float64).mean()  # 4 in 5 go on, and a new block follows by chance
        assert abs(float(share) - (0.8 + 0.2 / 50)) < 0.005
        return
    inside = torch.arange(1, 50) % 5 != 0
    assert follows[:, inside].all()
    if kind == "moving":
        assert (drawn[:, 1:] > drawn[:, :-1])[:, inside].all()


# refits


def _data(seed=0):
    r = np.random.default_rng(seed)
    x = np.c_[np.ones(N), r.normal(size=(N, 2))]
    index = x @ [0.3, 0.6, -0.4]
    frame = pd.DataFrame({"x1": x[:, 1], "x2": x[:, 2], "g": r.integers(0, G, N), "w": r.uniform(0.5, 2, N)})
    frame["y"] = index + r.normal(size=N) * (1 + x[:, 1] ** 2)
    frame["b"] = (r.random(N) < 1 / (1 + np.exp(-index))).astype(float)
    frame["c"] = r.poisson(np.exp(index)).astype(float)
    frame["m"] = r.integers(0, 3, N)
    frame["o"] = r.normal(size=N) * 0.2
    return frame, x


FRAME, X = _data()


def _net():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 1)).double()
    inputs = torch.tensor(X[:, 1:])
    target = (
        torch.tanh(inputs[:, :1] * 2)
        - torch.tanh(inputs[:, 1:] + 0.5)
        + 0.2 * torch.tensor(FRAME.o.to_numpy())[:, None]
    )
    optimiser = torch.optim.Adam(net.parameters(), 0.05)
    for _ in range(600):
        optimiser.zero_grad()
        nn.functional.mse_loss(net(inputs), target).backward()
        optimiser.step()
    return bh.TorchModel(net, nn.MSELoss(), inputs, target)


def _log_cosh(p, d):
    return torch.log(torch.cosh(d["y"] - d["x"] @ p["b"]))


MODELS = {
    "OLS": lambda: bh.OLS(FRAME.y.to_numpy(), X),
    "OLS, collinear": lambda: bh.OLS(FRAME.y.to_numpy(), np.c_[X, X[:, 1] + X[:, 2]]),
    "WLS": lambda: bh.WLS(FRAME.y.to_numpy(), X, weights=FRAME.w.to_numpy()),
    "Logit": lambda: bh.Logit(FRAME.b.to_numpy(), X, offset=FRAME.o.to_numpy()),
    "Logit, weights": lambda: bh.Logit(FRAME.b.to_numpy(), X, weights=FRAME.w.to_numpy()),
    "Probit": lambda: bh.Probit(FRAME.b.to_numpy(), X),
    "Poisson": lambda: bh.Poisson(FRAME.c.to_numpy(), X, exposure=FRAME.w.to_numpy()),
    "MNLogit": lambda: bh.MNLogit(FRAME.m.to_numpy(), X),
    "network": _net,
    "linear module": lambda: bh.TorchModel(
        nn.Linear(2, 1).double(), nn.MSELoss(), torch.tensor(X[:, 1:]), torch.tensor(FRAME.y.to_numpy())[:, None]
    ),
    "penalised": lambda: bh.TorchModel(
        nn.Linear(2, 1).double(),
        nn.BCEWithLogitsLoss(),
        torch.tensor(X[:, 1:]),
        torch.tensor(FRAME.b.to_numpy())[:, None],
        penalty=lambda p: 3.0 * (p["weight"] ** 2).sum(),
    ),
    "MEstimator": lambda: bh.MEstimator(_log_cosh, params={"b": np.zeros(3)}, data={"x": X, "y": FRAME.y.to_numpy()}),
}
WEIGHTED = {
    "pairs": Multinomial(N, N),
    "bayesian": Exponential(N),
    "poisson": PoissonCounts(N),
    "circular-block": Blocks(N, 6, "circular"),
    "moving-block": Blocks(N, 6, "moving"),
    "stationary": Blocks(N, 6.0, "stationary"),
}
_FITTED = {}


def _fitted(name):
    if name not in _FITTED:
        with pytest.warns(bh.CollinearityWarning) if "collinear" in name else nullcontext():
            _FITTED[name] = MODELS[name]().fit("HC0")
    return _FITTED[name]


def _refitted(res, weights, targets=None):
    """Refit by the solver alone, from the estimate: Newton's method on rows with these weights."""
    fit = res.fit
    if weights is not None and fit.problem.penalty is not None:  # of the mean loss
        weights = weights * (N / weights.sum())
    sample = fit.sample if weights is None else fit.sample.counted(weights)
    if targets is not None:
        sample = fit.sample.replaced({"endog": targets})
    return refit_on(fit, sample)


def _numpy_ols(x, y, w):
    root = np.sqrt(w)[:, None]
    return np.linalg.lstsq(x * root, y * root[:, 0], rcond=1e-10)[0]


@pytest.mark.parametrize("kind", WEIGHTED)
@pytest.mark.parametrize("name", MODELS)
def test_replicates_are_refits_with_the_same_weights(name, kind):
    options = {"block_length": 6} if "block" in kind or kind == "stationary" else {}
    res = _fitted(name).with_cov(bh.Bootstrap(12, kind, seed=3, **options))
    weights = WEIGHTED[kind](3, torch.arange(12)).to(torch.float64)
    assert res.cov.resampling.failed == 0
    for draw, row in zip(res.cov.draws, weights, strict=True):
        _close(draw, _refitted(res, row), name)
        if name.startswith("OLS"):
            _close(draw, _numpy_ols(np.asarray(res.fit.sample.exog), FRAME.y.to_numpy(), row.numpy()), name)


def _close(found, true, name):
    np.testing.assert_allclose(np.asarray(found), np.asarray(true), rtol=DIGITS, atol=DIGITS, err_msg=name)


@pytest.mark.parametrize("kind", WEIGHTED)
@pytest.mark.parametrize("name", ["WLS", "Logit", "Logit, weights", "Probit", "Poisson"])
def test_replicates_solve_the_equations_of_the_textbook(name, kind):
    """Sum of w x (dmu/deta) (y - mu) / V = 0, in NumPy: betahat's own solver is no witness."""
    options = {"block_length": 6} if "block" in kind or kind == "stationary" else {}
    res = _fitted(name).with_cov(bh.Bootstrap(12, kind, seed=3, **options))
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
    res = _fitted("network").with_cov(bh.Bootstrap(12, kind, seed=3, **options))
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
    res = _fitted(name).with_cov(bh.Bootstrap(12, kind, seed=3, clusters=groups))
    schemes = {"pairs": Multinomial(G, G), "bayesian": Exponential(G), "poisson": PoissonCounts(G)}
    weights = schemes[kind](3, torch.arange(12)).to(torch.float64)[:, groups]
    kept = iter(res.cov.draws)
    for row in weights[res.cov.resampling.found.found]:
        _close(next(kept), _refitted(res, row), name)
    assert next(kept, None) is None


@pytest.mark.parametrize(("kind", "scale"), [("subsample", 50 / 70), ("m-out-of-n", 50 / 120)])
@pytest.mark.parametrize("name", ["OLS", "Poisson"])
def test_smaller_samples_are_scaled(name, kind, scale):
    res = _fitted(name).with_cov(bh.Bootstrap(12, kind, seed=3, size=50))
    scheme = Subsample(N, 50) if kind == "subsample" else Multinomial(N, 50)
    estimate = res.fit.params
    for draw, row in zip(res.cov.draws, scheme(3, torch.arange(12)).to(torch.float64), strict=True):
        _close(draw, estimate + scale**0.5 * (_refitted(res, row) - estimate), name)


@pytest.mark.parametrize("name", ["OLS", "WLS", "Logit", "Probit", "Poisson", "MNLogit"])
def test_parametric_replicates_are_refits_of_drawn_data(name):
    res = _fitted(name).with_cov(bh.Bootstrap(8, "parametric", seed=3))
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
        _close(draw, _refitted(res, None, y), name)


@pytest.mark.parametrize("residuals", ["raw", "HC2", "HC3"])
@pytest.mark.parametrize("name", ["OLS", "WLS", "Logit", "Probit", "Poisson"])
def test_residual_replicates_solve_the_equations_of_drawn_residuals(name, residuals):
    res = _fitted(name).with_cov(bh.Bootstrap(8, "residual", seed=3, residuals=residuals))
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
        res = _fitted("OLS").with_cov(bh.Bootstrap(10, "wild", seed=3, multiplier="webb", residuals=residuals))
        signs = Multipliers(N, "webb")(3, torch.arange(10)).numpy()
        fitted, errors = np.asarray(res.fittedvalues), np.asarray(res.resid)
        leverage = np.asarray(res.get_influence().hat_matrix_diag)
        for draw, sign in zip(res.cov.draws, signs, strict=True):
            y = fitted + errors * (1 - leverage) ** -power * sign
            _close(draw, _numpy_ols(X, y, np.ones(N)), "OLS")


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("clustered", [False, True])
def test_score_replicates_are_steps_along_multiplied_scores(name, clustered):
    groups = FRAME.g.to_numpy().copy()
    res = _fitted(name).with_cov(bh.Bootstrap(10, "score", seed=3, clusters=groups if clustered else None))
    fit = res.fit
    scores = fit.map_rows(lambda rows: rows.scores())
    if clustered:
        scores = torch.stack([scores[groups == g].sum(0) for g in range(G)])
    scores = scores - (scores.mean(0) if name == "penalised" else 0.0)
    signs = Multipliers(len(scores), "rademacher")(3, torch.arange(10))
    _close(res.cov.draws, fit.params + signs @ scores @ fit.bread, name)


def test_all_signs_have_the_covariance_cr0_and_cr3():
    groups = FRAME.g.to_numpy().copy()
    res = _fitted("OLS").with_cov(bh.Bootstrap(2000, "wild", clusters=groups))
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


# the same draws


def _draws(res, kind, **options):
    return res.with_cov(bh.Bootstrap(40, kind, seed=11, **options)).cov.draws


@pytest.mark.parametrize(
    "kind", ["pairs", "bayesian", "poisson", "wild", "score", "residual", "parametric", "stationary", "subsample"]
)
@pytest.mark.parametrize("name", ["OLS", "Logit", "linear module"])
def test_draws_do_not_depend_on_blocks_and_batches(name, kind, monkeypatch):
    res = _fitted(name)
    if (name == "Logit" and kind == "wild") or (name == "linear module" and kind in ("wild", "residual", "parametric")):
        pytest.skip("not defined")
    whole = _draws(res, kind)
    monkeypatch.setattr(refits, "BYTES", 3 * N)
    monkeypatch.setattr(refits, "FEW_BYTES", 3 * N)
    monkeypatch.setattr(refits.in_batches, "__defaults__", (3 * N * 8,))
    monkeypatch.setattr(moments, "_TABLE", 1)
    monkeypatch.setattr(resamplers, "_TABLE", 1)
    monkeypatch.setattr(moments, "_PIECE", 50)
    monkeypatch.setattr(refits, "_PIECE", 50)
    np.testing.assert_allclose(_draws(res, kind), whole, rtol=1e-12, atol=1e-12)


def test_single_precision_data_draw_the_same_rows():
    y, x = FRAME.y.to_numpy(), X
    double = bh.OLS(y.astype(np.float32).astype(float), x.astype(np.float32).astype(float)).fit()
    single = bh.OLS(y.astype(np.float32), x.astype(np.float32)).fit()
    np.testing.assert_allclose(_draws(single, "pairs"), _draws(double, "pairs"), rtol=1e-12)


def test_a_seed_is_reproduced_and_reported():
    res = _fitted("OLS")
    one, other = res.with_cov(bh.Bootstrap(30)), res.with_cov(bh.Bootstrap(30))
    assert not torch.equal(one.cov.draws, other.cov.draws)
    assert f"seed {one.cov.resampling.seed}" in str(one.summary())
    assert torch.equal(res.with_cov(bh.Bootstrap(30, seed=one.cov.resampling.seed)).cov.draws, one.cov.draws)
    state = torch.get_rng_state(), np.random.get_state()[1]  # noqa: NPY002
    res.with_cov(bh.Bootstrap(30))
    assert torch.equal(torch.get_rng_state(), state[0])
    assert np.array_equal(np.random.get_state()[1], state[1])  # noqa: NPY002


def test_first_replicates_are_those_of_a_longer_run():
    res = _fitted("Logit")
    assert torch.allclose(
        res.with_cov(bh.Bootstrap(50, seed=2)).cov.draws[:20],
        res.with_cov(bh.Bootstrap(20, seed=2)).cov.draws,
        rtol=1e-12,
    )


def test_frequency_weights_are_repeated_rows():
    often = np.random.default_rng(1).integers(0, 4, N)
    repeated = np.repeat(np.arange(N), often)
    y = FRAME.b.to_numpy()
    short = bh.Logit(y, X, freq_weights=often).fit()
    long = bh.Logit(y[repeated], X[repeated]).fit()
    for kind in ("pairs", "bayesian", "poisson", "score"):
        np.testing.assert_allclose(_draws(short, kind), _draws(long, kind), rtol=1e-9, atol=1e-10)
    groups = FRAME.g.to_numpy().copy()
    for kind in ("pairs", "score"):
        found, true = _draws(short, kind, clusters=groups), _draws(long, kind, clusters=groups[repeated])
        np.testing.assert_allclose(found, true, rtol=1e-9, atol=1e-10)


def test_frequencies_beyond_small_integers():
    often = np.r_[np.full(N - 1, 1), 100_000]
    res = bh.Logit(FRAME.b.to_numpy(), X, freq_weights=often).fit(bh.Bootstrap(5, seed=1))
    units = np.repeat(np.arange(N), often)
    weights = Multinomial(len(units), len(units))(1, torch.arange(5)).to(torch.float64)
    for draw, row in zip(res.cov.draws, weights, strict=True):
        _close(draw, _refitted(res, torch.bincount(torch.tensor(units), row, minlength=N)), "Logit")


def test_times_may_stand_in_any_order():
    order = np.random.default_rng(2).permutation(N)
    frame = FRAME.assign(t=np.arange(N))
    sorted_ = bh.ols("y ~ x1 + x2", frame).fit()
    mixed = bh.ols("y ~ x1 + x2", frame.iloc[order]).fit()
    for kind in ("moving-block", "circular-block", "stationary"):
        plain = _draws(sorted_, kind)
        np.testing.assert_allclose(_draws(mixed, kind, time="t"), plain, rtol=1e-9)
        np.testing.assert_allclose(_draws(sorted_, kind, time="t"), plain, rtol=1e-12)
        assert not np.allclose(_draws(mixed, kind), plain)


# what a fresh review found


@pytest.mark.parametrize("clustered", [False, True])
def test_more_columns_than_a_table_has(clustered):
    r = np.random.default_rng(0)
    x = np.c_[np.ones(400), r.normal(size=(400, 69))]
    y = x @ r.normal(size=70) * 0.1 + r.normal(size=400)
    groups = np.repeat(np.arange(200), 2)
    res = bh.OLS(y, x).fit(bh.Bootstrap(8, seed=1, clusters=groups if clustered else None))
    units = 200 if clustered else 400
    weights = Multinomial(units, units)(1, torch.arange(8)).to(torch.float64).numpy()
    for draw, row in zip(res.cov.draws, weights[:, groups] if clustered else weights, strict=True):
        _close(draw, _numpy_ols(x, y, row), "OLS")
    probit = bh.Probit((y > 0).astype(float), x).fit(bh.Bootstrap(3, "bayesian", seed=1))
    for draw, row in zip(probit.cov.draws, Exponential(400)(1, torch.arange(3)), strict=True):
        _close(draw, _refitted(probit, row), "Probit")


def test_a_dummy_among_many_columns_is_lost():
    r = np.random.default_rng(0)
    level = np.r_[[66] * 3, r.integers(0, 66, 2997)]
    res = bh.OLS(r.normal(size=3000), np.eye(67)[level]).fit(bh.Bootstrap(100, seed=1))
    lost = (Multinomial(3000, 3000)(1, torch.arange(100))[:, :3].sum(1) == 0).sum()
    assert res.cov.resampling.failed == int(lost) > 0


@pytest.mark.filterwarnings("ignore::betahat.BootstrapWarning")
def test_a_combination_that_is_lost_is_seen_in_any_loss():
    r = np.random.default_rng(0)
    level = np.r_[np.zeros(2), r.integers(1, 3, 198)].astype(int)
    x = np.c_[np.ones(200), level == 1, level == 2].astype(float)
    y = x @ [1, 0.5, -0.5] + r.normal(size=200)
    ols = bh.OLS(y, x).fit(bh.Bootstrap(199, seed=1))
    loss = bh.MEstimator(lambda p, d: 0.5 * (d["y"] - d["x"] @ p["b"]) ** 2, {"b": np.zeros(3)}, {"x": x, "y": y})
    other = loss.fit("HC0").with_cov(bh.Bootstrap(199, seed=1))
    assert other.cov.resampling.failed == ols.cov.resampling.failed > 0
    np.testing.assert_allclose(other.cov.draws, ols.cov.draws, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("kind", ["subsample", "m-out-of-n"])
def test_studentized_intervals_of_smaller_samples(kind):
    """Half of the rows have the standard error of half of the rows, and differ from all by less."""
    r = np.random.default_rng(1)
    x = np.c_[np.ones(2000), r.normal(size=2000)]
    res = bh.OLS(r.normal(size=2000), x).fit(bh.Bootstrap(400, kind, seed=1, size=1000))
    wide, plain = (np.diff(res.conf_int(method=m))[:, 0] for m in ("studentized", "normal"))
    np.testing.assert_allclose(wide, plain, rtol=0.15)


@pytest.mark.parametrize("kind", ["pairs", "bayesian", "subsample", "m-out-of-n"])
def test_a_penalty_weighs_the_same_in_any_sample(kind):
    res = _fitted("penalised").with_cov(bh.Bootstrap(400, kind, seed=1, **({"size": 50} if kind[0] in "sm" else {})))
    if kind != "bayesian":  # m rows have the standard error of m rows, so that scaled to n they are like the sample
        own, each = _variances(res)
        np.testing.assert_allclose(np.median(each, 0), own, rtol=0.25)
    gap = (res.cov.draws.mean(0) - res.fit.params) / res.cov.draws.std(0)
    assert gap.abs().max() < 0.35
    np.testing.assert_allclose(res.bse, res.with_cov("HC0").bse, rtol=0.35)


def test_rows_of_weight_zero_do_not_matter():
    w = FRAME.w.to_numpy().copy()
    w[:3] = 0.0
    wild_y = FRAME.y.to_numpy().copy()
    wild_y[:3] = 1e6
    models = [bh.WLS(y, X, weights=w).fit() for y in (FRAME.y.to_numpy().copy(), wild_y)]
    for kind in ("pairs", "wild", "score", "residual", "parametric"):
        one, other = (model.with_cov(bh.Bootstrap(50, kind, seed=1)) for model in models)
        assert np.isfinite(one.conf_int(method="studentized" if kind != "score" else "basic")).all()
        np.testing.assert_allclose(one.cov.draws, other.cov.draws, rtol=1e-9, atol=1e-10)


def test_one_hypothesis_has_one_pvalue():
    groups = FRAME.g.to_numpy().copy()
    res = _fitted("OLS").with_cov(bh.Bootstrap(999, "wild", clusters=groups, variant="33"))
    value = pytest.approx(float(res.pvalues[1]), abs=1e-12)
    row = np.array([[0.0, 1.0, 0.0]])
    assert float(res.t_test(row).pvalue) == value
    assert res.f_test(row).pvalue == value
    assert res.wald_test(row, use_f=False).pvalue == value
    assert res.bootstrap_pvalues()[1] == value
    assert res.wald_test_terms().table["pvalue"].iloc[1] == value
    t = res.with_cov(bh.Bootstrap(999, "wild", clusters=groups, variant="33"), use_t=True)
    assert t.t_test(row).distribution == "t"
    assert float(t.t_test(row).pvalue) == value


def test_normal_intervals_are_those_of_the_summary():
    groups = FRAME.g.to_numpy().copy()
    for use_t in (None, True):
        res = _fitted("OLS").with_cov(bh.Bootstrap(99, "score", seed=1, clusters=groups), use_t=use_t)
        np.testing.assert_allclose(res.conf_int(method="normal"), res.conf_int(), rtol=1e-12)
    every = _fitted("OLS").with_cov(bh.Bootstrap(999, "wild", clusters=groups))
    same = every.delta(lambda p: p.vector)
    np.testing.assert_allclose(same.bse, every.bse, rtol=1e-12)
    np.testing.assert_allclose(same.conf_int(method="normal"), every.conf_int(method="normal"), rtol=1e-12)


def test_block_lengths_do_not_depend_on_the_order_of_columns():
    notes = {
        bh.OLS(FRAME.y.to_numpy(), X[:, order]).fit(bh.Bootstrap(9, "stationary", seed=1)).cov.note
        for order in ([0, 1, 2], [2, 0, 1], [1, 2, 0])
    }
    assert len(notes) == 1


@pytest.mark.parametrize("kind", ["subsample", "m-out-of-n", "stationary"])
def test_bca_is_refused_where_units_are_not_drawn_alike(kind):
    with pytest.raises(bh.EstimationError, match="'pairs', 'bayesian' and 'poisson'"):
        _fitted("OLS").with_cov(bh.Bootstrap(99, kind, seed=1)).conf_int(method="bca")


def test_whole_numbers_of_numpy():
    res = _fitted("OLS")
    plain = res.with_cov(bh.Bootstrap(20, "subsample", seed=3, size=40)).cov.draws
    assert torch.equal(
        res.with_cov(bh.Bootstrap(np.int64(20), "subsample", seed=np.int64(3), size=np.int32(40))).cov.draws, plain
    )
    blocks = [
        res.with_cov(bh.Bootstrap(20, "moving-block", seed=3, block_length=b)).cov.draws for b in (5, np.int64(5), 5.0)
    ]
    assert torch.equal(blocks[0], blocks[1])
    assert torch.equal(blocks[0], blocks[2])


def test_fewer_clusters_than_coefficients_may_be_drawn():
    r = np.random.default_rng(0)
    x = np.c_[np.ones(240), r.normal(size=(240, 14))]
    groups = np.repeat(np.arange(40), 6)
    res = bh.OLS(r.normal(size=240), x).fit(bh.Bootstrap(99, "m-out-of-n", seed=1, clusters=groups))
    assert "12 of 40 drawn" in res.cov.note


def test_intervals_beyond_the_last_replicate_warn():
    res = _fitted("OLS").with_cov(bh.Bootstrap(19, seed=1))
    ratio = res.delta(lambda p: p[1] / p[0])
    for method in ("percentile", "basic", "studentized", "bca"):
        for of in (res, ratio):
            with pytest.warns(bh.BootstrapWarning, match="19 replicates") as caught:
                of.conf_int(method=method)
            assert caught[0].filename == __file__
    res.conf_int(alpha=0.2, method="percentile")


def test_intervals_of_wild_clusters_are_the_hull_of_what_is_not_rejected():
    """With one treated cluster of eight p-values rise again, away from the estimate."""
    r = np.random.default_rng([2, 1732])
    g = np.repeat(np.arange(8), np.linspace(5, 25, 8).round().astype(int))
    a, z, c = r.normal(size=(3, 8))[:, g]
    e, v = r.normal(size=(2, len(g)))
    x = np.c_[np.ones(len(g)), a + e, z]
    res = bh.OLS(1 + a + e + z + c + v, x).fit(bh.Bootstrap(399, "wild", clusters=g, variant="33"))
    low, high = res.conf_int()[2]
    values = np.linspace(low - 40, high + 40, 2001)
    row = np.array([0.0, 0.0, 1.0])
    pvalues = np.array([float(res.t_test((row, value)).pvalue) for value in values])
    held = values[pvalues > 0.05]
    assert (np.diff(held) > 0.05).any()
    assert low - 0.05 <= held.min()
    assert held.max() <= high + 0.05
    assert held.min() - low < 0.05
    assert high - held.max() < 0.05


# replicates that fail


def _rare(rows):
    r = np.random.default_rng(0)
    x = np.c_[np.ones(60), r.normal(size=60), np.arange(60) < rows]
    return bh.OLS(r.normal(size=60), x).fit()


def test_replicates_that_lose_a_column_are_counted_and_left_out():
    res = _rare(5).with_cov(bh.Bootstrap(2000, seed=1))
    lost = (Multinomial(60, 60)(1, torch.arange(2000))[:, :5].sum(1) == 0).sum()
    assert 0 < int(lost) == res.cov.resampling.failed
    assert len(res.cov.draws) == 2000 - int(lost)
    assert f"{int(lost)} failed and were left out" in str(res.summary())
    with pytest.warns(bh.BootstrapWarning, match="kind='bayesian'"):
        assert _rare(2).with_cov(bh.Bootstrap(500, seed=1)).cov.resampling.failed > 25
    with pytest.raises(bh.EstimationError, match=r"of 500 replicates have no estimate"):
        _rare(3).with_cov(bh.Bootstrap(500, "m-out-of-n", seed=1, size=4))


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("loss", [nn.MSELoss(), nn.HuberLoss()])
def test_a_category_that_is_not_drawn_is_lost_for_any_module(loss, layers):
    """Its parameters do not move then, which would pass for an estimate; a penalty is an estimate of its own."""
    r = np.random.default_rng(0)
    torch.manual_seed(0)
    rare = torch.tensor((np.arange(60) < 3).astype(int))
    y = torch.tensor(r.normal(size=60))[:, None]
    module = nn.Embedding(2, 1).double() if layers == 1 else nn.Sequential(nn.Embedding(2, 1), nn.Softplus()).double()
    y = y.abs() + 0.5
    res = bh.TorchModel(module, loss, rare, y).fit("HC0").with_cov(bh.Bootstrap(400, seed=1))
    lost = (Multinomial(60, 60)(1, torch.arange(400))[:, :3].sum(1) == 0).sum()
    assert res.cov.resampling.failed == int(lost) > 0
    held = bh.TorchModel(module, loss, rare, y, penalty=lambda p: sum((v**2).sum() for v in p.values())).fit("HC0")
    assert held.with_cov(bh.Bootstrap(400, seed=1)).cov.resampling.failed == 0


@pytest.mark.filterwarnings("ignore::betahat.BootstrapWarning")
def test_separated_replicates_are_left_out():
    r = np.random.default_rng(4)
    x = r.normal(size=25)
    y = (x + r.normal(size=25) > 0).astype(float)
    res = bh.Logit(y, np.c_[np.ones(25), x]).fit()
    lost = _separated(x, y)
    assert lost > 0
    found = res.with_cov(bh.Bootstrap(300, seed=1))
    assert torch.isfinite(found.cov.draws).all()
    assert found.cov.resampling.failed == lost


def _separated(x, y):
    weights = Multinomial(25, 25)(1, torch.arange(300)).numpy()
    lost = 0
    for row in weights:
        there = row > 0
        one, zero = x[there & (y == 1)], x[there & (y == 0)]
        lost += not len(one) or not len(zero) or one.min() > zero.max() or zero.min() > one.max()
    return lost


# intervals and tests


def test_percentile_and_basic_are_reflections():
    res = _fitted("OLS").with_cov(bh.Bootstrap(999, seed=1))
    percentile, basic = res.conf_int(method="percentile"), res.conf_int(method="basic")
    np.testing.assert_allclose(basic, 2 * np.asarray(res.params)[:, None] - percentile[:, ::-1], rtol=1e-12)
    np.testing.assert_allclose(res.conf_int(method="normal"), res.conf_int(), rtol=1e-12)


def test_methods_may_be_spelled_as_in_the_literature():
    res = _fitted("OLS").with_cov(bh.Bootstrap(999, seed=1))
    np.testing.assert_array_equal(res.conf_int(0.1, "BCa"), res.conf_int(0.1, "bca"))
    np.testing.assert_array_equal(res.conf_int(0.1, "studentised"), res.conf_int(0.1, "studentized"))


def test_quantiles_are_order_statistics():
    res = _fitted("OLS").with_cov(bh.Bootstrap(999, seed=1))
    ordered = np.sort(np.asarray(res.cov.draws), axis=0)
    np.testing.assert_allclose(res.conf_int(method="percentile"), np.c_[ordered[24], ordered[974]], rtol=1e-13)


@pytest.mark.parametrize("kind", ["pairs", "wild", "residual", "parametric"])
@pytest.mark.parametrize("name", ["OLS", "WLS"])
def test_studentized_intervals_by_a_loop(name, kind):
    res = _fitted(name).with_cov(bh.Bootstrap(199, kind, seed=1))
    w = FRAME.w.to_numpy() if name == "WLS" else np.ones(N)
    estimate, y = np.asarray(res.params), FRAME.y.to_numpy()

    def error(b, y, counts):
        u = y - X @ b
        bread = np.linalg.inv(X.T @ ((w * counts)[:, None] * X))
        if kind in ("residual", "parametric"):
            return np.sqrt((w * u**2).sum() / (N - 3) * np.diag(bread))
        half = X * (w * u * np.sqrt(counts))[:, None]
        return np.sqrt(np.diag(bread @ half.T @ half @ bread))

    t = []
    ones = np.ones(N)
    for i, draw in enumerate(res.cov.draws.numpy()):
        one = torch.tensor([i])
        counts, drawn = ones, y
        fitted = X @ estimate
        if kind == "pairs":
            counts = Multinomial(N, N)(1, one)[0].to(torch.float64).numpy()
        elif kind == "wild":
            drawn = fitted + (y - fitted) * Multipliers(N, "rademacher")(1, one)[0].numpy()
        elif kind == "residual":
            e = np.sqrt(w) * (y - fitted)
            drawn = fitted + (e - e.mean())[Multinomial(N, N).indices(1, one)[0].numpy()] / np.sqrt(w)
        else:
            drawn = fitted + stats.norm.ppf(uniforms(1, 0, one, N)[0].numpy()) * np.sqrt(res.scale / w)
        t.append((draw - estimate) / error(draw, drawn, counts))
    t = np.sort(t, axis=0)
    own = error(estimate, y, ones)
    true = np.c_[estimate - own * t[194], estimate - own * t[4]]  # ranks 195 and 5 of 199, a twentieth outside
    np.testing.assert_allclose(res.conf_int(method="studentized"), true, rtol=1e-9)


@pytest.mark.parametrize("name", ["OLS", "Logit", "MNLogit", "linear module"])
def test_studentized_errors_of_clusters_are_cr0_of_the_drawn_clusters(name):
    groups = FRAME.g.to_numpy().copy()
    res = _fitted(name)
    own, each = _variances(res.with_cov(bh.Bootstrap(5, seed=2, clusters=groups)))
    np.testing.assert_allclose(own, res.with_cov(bh.Cluster(groups, "CR0")).cov.matrix.diagonal(), rtol=1e-9)
    weights = Multinomial(G, G)(2, torch.arange(5))
    if name != "OLS":
        return
    for row, variance in zip(weights, each, strict=True):
        parts = [(np.flatnonzero(groups == g), copy) for g in range(G) for copy in range(int(row[g]))]
        rows = np.concatenate([part for part, _ in parts])
        labels = np.concatenate([np.full(len(part), i) for i, (part, _) in enumerate(parts)])
        naive = bh.OLS(FRAME.y.to_numpy()[rows], X[rows]).fit(bh.Cluster(labels, "CR0"))
        np.testing.assert_allclose(variance, naive.bse**2, rtol=1e-9)


def _variances(res):
    own, each = res._replicated("variances").variances()
    return own.numpy(), each.numpy()


def test_bca_accelerations_by_the_units():
    groups = FRAME.g.to_numpy().copy()
    for clusters in (None, groups):
        res = _fitted("Poisson").with_cov(bh.Bootstrap(499, seed=1, clusters=clusters))
        lines = res.fit.map_rows(lambda rows: rows.scores()) @ res.fit.bread
        if clusters is not None:
            lines = torch.stack([lines[groups == g].sum(0) for g in range(G)])
        found = res.cov.resampling.acceleration(torch.eye(3, dtype=torch.float64))
        np.testing.assert_allclose(found, (lines**3).sum(0) / (6 * (lines**2).sum(0) ** 1.5), rtol=1e-10)
        assert np.isfinite(res.conf_int(method="bca")).all()


def test_a_band_covers_all_coefficients_at_once():
    res = _fitted("OLS").with_cov(bh.Bootstrap(999, seed=1))
    low, high = res.conf_int(method="sup-t").T
    draws = np.asarray(res.cov.draws)
    inside = ((draws >= low) & (draws <= high)).all(1).mean()
    assert 0.95 <= inside <= 0.953
    assert (res.conf_int(method="normal")[:, 1] < high).all()


def test_functions_of_the_parameters():
    res = _fitted("OLS").with_cov(bh.Bootstrap(999, seed=1))
    ratio = res.delta(lambda p: p[1] / p[0])
    draws = np.asarray(res.cov.draws)
    values = draws[:, 1] / draws[:, 0]
    np.testing.assert_allclose(np.asarray(ratio.draws)[:, 0], values, rtol=1e-13)
    assert ratio.bse == pytest.approx(values.std(ddof=1), rel=1e-12)
    assert ratio.conf_int(method="percentile") == pytest.approx(np.sort(values)[[24, 974]], rel=1e-12)
    same = res.delta(lambda p: p.vector)
    for method in ("percentile", "basic", "studentized", "bca", "sup-t", "normal"):
        np.testing.assert_allclose(same.conf_int(method=method), res.conf_int(method=method), rtol=1e-9)
    np.testing.assert_allclose(same.bootstrap_pvalue(), res.bootstrap_pvalues(), rtol=1e-13)
    doubled = res.delta(lambda p: 2.0 * p[1])
    np.testing.assert_allclose(
        doubled.conf_int(method="studentized"), 2 * res.conf_int(method="studentized")[1], rtol=1e-9
    )


def test_pvalues_count_replicates():
    res = _fitted("OLS").with_cov(bh.Bootstrap(499, seed=1))
    moved, estimate = np.asarray(res.cov.draws) - np.asarray(res.params), np.asarray(res.params)
    true = ((np.abs(moved) >= np.abs(estimate)).sum(0) + 1) / 500
    np.testing.assert_allclose(res.bootstrap_pvalues(), true)
    tails = np.minimum((moved >= estimate).sum(0) + 1, (moved <= estimate).sum(0) + 1) / 250
    np.testing.assert_allclose(res.bootstrap_pvalues(tail="equal"), np.minimum(tails, 1))
    assert 0.001 < res.bootstrap_pvalues()[2] < 1


@pytest.mark.parametrize("null", [True, False])
@pytest.mark.parametrize("variant", ["11", "13", "31", "33"])
def test_intervals_of_wild_clusters_end_where_the_test_rejects(variant, null):
    groups = FRAME.g.to_numpy().copy()
    res = _fitted("OLS").with_cov(
        bh.Bootstrap(499, "wild", seed=1, clusters=groups, multiplier="webb", variant=variant, null=null)
    )
    for j, (low, high) in enumerate(res.conf_int()):
        row = np.eye(3)[j]
        for inside, outside in ((low + 1e-6, low - 1e-6), (high - 1e-6, high + 1e-6)):
            assert res.t_test((row, inside)).pvalue > 0.05 >= res.t_test((row, outside)).pvalue
    np.testing.assert_allclose(res.t_test(np.eye(3)).pvalue, res.pvalues)
    np.testing.assert_allclose(res.t_test(np.eye(3)).conf_int(), res.conf_int())
    table = res.tidy()
    np.testing.assert_allclose(table["p.value"], res.pvalues)
    np.testing.assert_allclose(table[["conf.low", "conf.high"]], res.conf_int())
    frame = res.t_test(np.eye(3)).summary_frame()
    np.testing.assert_allclose(frame["P>|z|"], res.pvalues)
    np.testing.assert_allclose(frame[["Conf. Int. Low", "Conf. Int. Upp."]], res.conf_int())


def test_wild_clusters_of_weighted_least_squares_are_those_of_whitened_data():
    groups, root = FRAME.g.to_numpy().copy(), np.sqrt(FRAME.w.to_numpy())
    options = {"reps": 2000, "kind": "wild", "clusters": groups, "variant": "33"}
    weighted = _fitted("WLS").with_cov(bh.Bootstrap(**options))
    plain = bh.OLS(FRAME.y.to_numpy() * root, X * root[:, None]).fit(bh.Bootstrap(**options))
    np.testing.assert_allclose(weighted.pvalues, plain.pvalues)
    np.testing.assert_allclose(weighted.conf_int(), plain.conf_int(), rtol=1e-9)


def test_an_interval_may_have_no_end():
    """Where the data that are drawn follow the null value with no error, no null value is rejected."""
    lines = torch.tensor([[0.0, 0.0], [1.0, -1.0]], dtype=torch.float64)
    statistics = Statistics(lines, torch.zeros(3, 2, dtype=torch.float64), torch.tensor(0.5, dtype=torch.float64))
    assert float(statistics.bound(0.05, 1.0)) == np.inf
    assert float(statistics.bound(0.05, -1.0)) == -np.inf


@pytest.mark.filterwarnings("ignore::betahat.BootstrapWarning")  # 199 replicates are few for BCa
@pytest.mark.parametrize(
    ("kind", "options", "method"),
    [
        ("pairs", {}, "percentile"),
        ("pairs", {}, "bca"),
        ("bayesian", {}, "normal"),
        ("residual", {}, "basic"),
        ("wild", {"residuals": "HC3"}, "percentile"),
        ("wild", {"clusters": np.arange(100) % 10}, None),
    ],
)
def test_intervals_cover(kind, options, method):
    """A sample of the study in benchmarks/coverage_study.py: 19 of 20 intervals, but for Monte Carlo error and a little."""
    covered = 0
    for sample in range(200):
        r = np.random.default_rng([7, sample])
        x = np.c_[np.ones(100), r.normal(size=100)]
        res = bh.OLS(1 + x[:, 1] + r.normal(size=100), x).fit(bh.Bootstrap(199, kind, seed=sample, **options))
        low, high = res.conf_int(method=method)[1]
        covered += low < 1 < high
    assert 0.93 * 200 - Z * (200 * 0.95 * 0.05) ** 0.5 < covered <= 200


# the session


def test_an_interrupt_leaves_the_session_usable(monkeypatch):
    res = _fitted("Logit")
    calls = []

    def stop(*arguments):
        calls.append(arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(refits, "_scores_at", stop)
        with pytest.raises(KeyboardInterrupt):
            res.with_cov(bh.Bootstrap(50, seed=1))
    assert calls
    assert np.isfinite(res.with_cov(bh.Bootstrap(50, seed=1)).bse).all()


@pytest.mark.parametrize("kind", ["pairs", "residual", "parametric", "wild", "score"])
def test_results_can_be_pickled(kind):
    res = _fitted("OLS").with_cov(
        bh.Bootstrap(99, kind, seed=1, clusters=FRAME.g.to_numpy().copy() if kind == "wild" else None)
    )
    other = pickle.loads(pickle.dumps(res))
    np.testing.assert_array_equal(other.conf_int(), res.conf_int())
    np.testing.assert_array_equal(other.conf_int(method="basic"), res.conf_int(method="basic"))


def test_names_and_tables():
    res = bh.ols("y ~ x1 + x2", FRAME).fit()
    named = res.with_cov("bootstrap", {"reps": 99, "seed": 4})
    assert torch.equal(named.cov.draws, res.with_cov(bh.Bootstrap(99, seed=4)).cov.draws)
    table = bh.compare(
        res, ["HC3", bh.Bootstrap(99, seed=4), bh.Bootstrap(99, "wild", seed=4, clusters="g")]
    ).to_frame()
    assert list(table.columns) == ["coef", "HC3", "bootstrap", "wild bootstrap"]
    text = str(named.summary())
    assert "Covariance Type:            bootstrap" in text
    assert "the pairs bootstrap (99 replicates, seed 4)" in text
