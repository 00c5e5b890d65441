"""Data, a model of every kind and schemes of weights: what the laws of the bootstrap resample."""

from contextlib import nullcontext

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import betahat as bh
from betahat.fits.refits import refit_on
from betahat.resampling.weights import (
    Blocks,
    Exponential,
    Multinomial,
    PoissonCounts,
)

N, G = 120, 9


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


def network():
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


def log_cosh(p, d):
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
    "network": network,
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
    "MEstimator": lambda: bh.MEstimator(log_cosh, params={"b": np.zeros(3)}, data={"x": X, "y": FRAME.y.to_numpy()}),
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


def fit_of(name):
    if name not in _FITTED:
        with pytest.warns(bh.CollinearityWarning) if "collinear" in name else nullcontext():
            _FITTED[name] = MODELS[name]().fit("HC0")
    return _FITTED[name]


def refitted(res, weights, targets=None):
    """Refit by the solver alone, from the estimate: Newton's method on rows with these weights."""
    fit = res.fit
    if weights is not None and fit.problem.penalty is not None:  # of the mean loss
        weights = weights * (N / weights.sum())
    sample = fit.sample if weights is None else fit.sample.counted(weights)
    if targets is not None:
        sample = fit.sample.replaced({"endog": targets})
    return refit_on(fit, sample)


def numpy_ols(x, y, w):
    root = np.sqrt(w)[:, None]
    return np.linalg.lstsq(x * root, y * root[:, 0], rcond=1e-10)[0]


def replicate_variances(res):
    own, each = res._pair.replicated("variances").variances()
    return own.numpy(), each.numpy()
