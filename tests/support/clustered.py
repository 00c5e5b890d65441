"""Rows in clusters, a panel, and models of every kind on them, with each row's loss for automatic differentiation."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

import betahat as bh

N, G, T = 72, 12, 6
RNG = np.random.default_rng(5)
X = np.column_stack([np.ones(N), RNG.normal(size=(N, 2))])
UNIT = np.sort(RNG.choice(G, size=N, p=np.arange(1, G + 1) / (G * (G + 1) / 2)))
UNIT[:G] = np.arange(G)  # none is empty; sizes differ, and rows are not sorted
OTHER = RNG.integers(0, 7, size=N)
W = RNG.uniform(0.3, 2.5, size=N)
HOLES = np.where((np.arange(N) % 6 == 2) & (np.arange(N) >= G), 0.0, W)  # every unit keeps a row
INDEX = X @ [0.2, 0.6, -0.4] + 0.5 * RNG.normal(size=G)[UNIT]
Y = INDEX + RNG.normal(size=N) * (0.5 + np.abs(X[:, 1]))
YES = (INDEX + RNG.logistic(size=N) > 0) * 1.0
COUNT = RNG.poisson(np.exp(0.7 * INDEX)) * 1.0
CHOICE = np.argmax(np.column_stack([0 * INDEX, INDEX, -INDEX]) + RNG.gumbel(size=(N, 3)), axis=1)
# A balanced panel of the same rows.
FIRM, YEAR = np.repeat(np.arange(G), T), np.tile(np.arange(T), G)


def as_tensor(values):
    return torch.as_tensor(np.array(values))


def linear_layer():
    return nn.Linear(2, 1, dtype=torch.float64)


def network(order):
    return bh.TorchModel(linear_layer(), nn.MSELoss(), as_tensor(X[order, 1:]), as_tensor(Y[order, None]))


def log_cosh(p, d):
    return torch.log(torch.cosh(d["y"] - d["x"] @ p["beta"]))


def m_estimator(order):
    data = {"x": as_tensor(X[order]), "y": as_tensor(Y[order]), "unit": as_tensor(UNIT[order])}
    return bh.MEstimator(log_cosh, {"beta": torch.zeros(3, dtype=torch.float64)}, data)


MODELS = {
    "OLS": lambda order: bh.OLS(Y[order], X[order]),
    "WLS": lambda order: bh.WLS(Y[order], X[order], weights=W[order]),
    "weights of zero": lambda order: bh.WLS(Y[order], X[order], weights=HOLES[order]),
    "Logit": lambda order: bh.Logit(YES[order], X[order]),
    "weighted Logit": lambda order: bh.Logit(YES[order], X[order], weights=W[order]),
    "Probit": lambda order: bh.Probit(YES[order], X[order]),
    "Poisson": lambda order: bh.Poisson(COUNT[order], X[order]),
    "MNLogit": lambda order: bh.MNLogit(CHOICE[order], X[order]),
    "TorchModel": network,
    "MEstimator": m_estimator,
}
ORDER = np.arange(N)
KINDS = ("CR0", "CR1", "CR1p", "CR1S", "CR2", "CR3", "jackknife")


# Each row's loss as a function of all parameters, for automatic differentiation.
def index_of(b):
    return as_tensor(X) @ b


def choice_losses(b):
    index = torch.cat([torch.zeros(N, 1, dtype=torch.float64), as_tensor(X) @ b.reshape(2, 3).T], 1)
    return F.cross_entropy(index, as_tensor(CHOICE), reduction="none")


LOSSES = {
    "OLS": lambda b: 0.5 * (as_tensor(Y) - index_of(b)) ** 2,
    "WLS": lambda b: 0.5 * as_tensor(W) * (as_tensor(Y) - index_of(b)) ** 2,
    "weights of zero": lambda b: 0.5 * as_tensor(HOLES) * (as_tensor(Y) - index_of(b)) ** 2,
    "Logit": lambda b: F.softplus(index_of(b)) - as_tensor(YES) * index_of(b),
    "weighted Logit": lambda b: as_tensor(W) * (F.softplus(index_of(b)) - as_tensor(YES) * index_of(b)),
    "Probit": lambda b: -torch.special.log_ndtr((2 * as_tensor(YES) - 1) * index_of(b)),
    "Poisson": lambda b: torch.exp(index_of(b)) - as_tensor(COUNT) * index_of(b),
    "MNLogit": choice_losses,
    "TorchModel": lambda b: (as_tensor(Y) - as_tensor(X[:, 1:]) @ b[:2] - b[2]) ** 2,
    "MEstimator": lambda b: torch.log(torch.cosh(as_tensor(Y) - index_of(b))),
}


def bread_and_scores(name, res):
    """Return the inverse Hessian and the scores of each row by automatic differentiation."""
    b = as_tensor(np.asarray(res.params).ravel("F"))
    scores = -torch.func.jacrev(LOSSES[name])(b)
    hessian = torch.func.hessian(lambda b: LOSSES[name](b).sum())(b)
    return np.linalg.inv(hessian.numpy()), scores.numpy()


def sandwich(bread, parts):
    return bread @ sum(np.outer(s, s) for s in parts) @ bread


def matrix_of(res, estimator):
    return np.asarray(res.with_cov(estimator).cov_params())


# the order of rows, the names of groups, the container


def collection(order):
    """Name estimators for rows in an order; all but HAC, which is about the order."""
    unit, other, firm, year = UNIT[order], OTHER[order], FIRM[order], YEAR[order]
    place = {"latitude": X[order, 1], "longitude": X[order, 2], "cutoff": 0.5, "distance": "planar"}
    return {
        **{kind: bh.Cluster(unit, kind) for kind in KINDS},
        **{f"two-way {kind}": bh.Cluster([unit, other], kind, psd="repair") for kind in ("CR0", "CR1S", "CR2", "CR3")},
        "Driscoll-Kraay": bh.DriscollKraay(year, 2),
        "panel": bh.PanelNeweyWest(firm, year, 2),
        "cluster-jk": bh.Jackknife(unit),
        "jackknife over rows": bh.Jackknife(),
        "Conley": bh.Conley(**place),
    }


# A loss of one's own shows no clustered value, so that its rows have no leverage.
NO_LEVERAGE = ("CR2", "CR3", "jackknife", "two-way CR2", "two-way CR3", "cluster-jk", "jackknife over rows")


def is_defined(name, kind):
    return name != "MEstimator" or kind not in NO_LEVERAGE
