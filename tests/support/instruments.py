"""Data with instruments, and the quantities that tests of instruments take, from the formulas of their papers by plain loops."""

import numpy as np
import torch

from betahat.inference.partialled import partialled


def iv_data(seed=0, nobs=300, exogenous=2, endogenous=1, excluded=3, strength=0.6, groups=30):
    """y, X, W, Z, cluster labels and positive weights, with heteroskedastic errors that clusters share."""
    random = np.random.default_rng(seed)
    x = np.column_stack([np.ones(nobs), random.normal(size=(nobs, exogenous - 1))])
    z = random.normal(size=(nobs, excluded)) + 0.4 * x[:, -1:]
    group = random.integers(groups, size=nobs)
    shared = random.normal(size=groups)[group]
    error = random.normal(size=nobs) * (0.5 + np.abs(z[:, 0])) + shared
    own = random.normal(size=(nobs, endogenous)) * (0.7 + np.abs(z[:, -1:])) + 0.8 * error[:, None]
    pi = strength * random.normal(size=(excluded, endogenous))
    w = z @ pi + 0.5 * x[:, -1:] + own
    y = w @ np.linspace(1.0, -0.5, endogenous) + x @ np.full(exogenous, 0.3) + error
    return y, x, w, z, group, random.uniform(0.5, 2.0, size=nobs)


def annihilated(columns, x):
    """The residuals of columns regressed on x."""
    return columns - x @ np.linalg.lstsq(x, columns, rcond=None)[0]


def part_of(y, x, w, z, weights=None):
    """The `Partialled` of data."""
    root = np.ones(len(y)) if weights is None else np.sqrt(weights)
    joint = np.column_stack([x, z, w, y]) * root[:, None]
    triangle = torch.as_tensor(np.linalg.qr(joint, mode="r"))
    free = len(y) - x.shape[1] - z.shape[1]
    return partialled(triangle, x.shape[1], z.shape[1], float(len(y)), float(free))


def meat_of(scores, group=None, lags=0):
    """The sum of s s', over rows, over clusters, or with Bartlett's weights over lags, by loops."""
    if group is not None:
        scores = np.stack([scores[group == g].sum(0) for g in np.unique(group)])
    meat = sum(np.outer(s, s) for s in scores)
    for lag in range(1, lags + 1):
        for t in range(lag, len(scores)):
            product = np.outer(scores[t], scores[t - lag])
            meat = meat + (1 - lag / (lags + 1)) * (product + product.T)
    return meat


def variance_of(y, x, w, z, *, null=False, factor=1.0, group=None, lags=0):
    """c -> the variance of the instruments' coefficients in the regression of [W, y] c, sandwiched by a loop over rows.

    With `null`, what is regressed stands in the place of the residual.
    """
    free, columns = annihilated(z, x), annihilated(np.column_stack([w, y]), x)
    inverse = np.linalg.inv(free.T @ free)

    def variance(weights):
        dependent = columns @ np.asarray(weights)
        residual = dependent if null else annihilated(dependent, free)
        return torch.as_tensor(factor * inverse @ meat_of(free * residual[:, None], group, lags) @ inverse)

    return variance


def classical_variance_of(y, x, w, z):
    """The same for errors of one variance, by n - k."""
    free, columns = annihilated(z, x), annihilated(np.column_stack([w, y]), x)
    inverse = np.linalg.inv(free.T @ free)

    def variance(weights):
        residual = annihilated(columns @ np.asarray(weights), free)
        return torch.as_tensor(residual @ residual / (len(y) - x.shape[1] - z.shape[1]) * inverse)

    return variance
