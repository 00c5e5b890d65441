"""Intervals for a new observation, where the loss says how it is distributed: a table of kinds of losses."""

from __future__ import annotations

from functools import singledispatch
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from betahat.data.container import to_numpy, to_tensor
from betahat.errors import EstimationError
from betahat.inference.coefficients import interval
from betahat.inference.distribution import Df, check_alpha
from betahat.lazy import lazily
from betahat.objectives.base import LinearIndex, Objective
from betahat.objectives.bernoulli import Logistic, Probability
from betahat.objectives.errors_alone import ErrorLoss
from betahat.objectives.gaussian import Gaussian, GaussianMeanVariance
from betahat.objectives.poisson import PoissonLog, PoissonMean

if TYPE_CHECKING:
    from scipy import stats
else:
    stats = lazily("scipy.stats")

# Nodes of the integral over the output, which is exact for polynomials of degree 2 n - 1, and halvings of where a quantile lies.
_NODES, _HALVINGS = 21, 60


@singledispatch
def observation_bounds(loss: Objective, output: Tensor, error: Tensor, phi: float, df: Df, alpha: float) -> Tensor:
    """Return (m, 2) intervals for new observations of weight one, from (m,) outputs, their standard errors and the dispersion.

    They are quantiles of the predictive distribution, in which the output is normal around its estimate: that of least squares is
    normal, or t, with variance se^2 + s^2. Aitchison and Dunsmore (1975), Statistical Prediction Analysis, section 2.
    """
    raise EstimationError(
        "A new observation has an interval where the loss says how a number is distributed, as that of least squares or a likelihood does, and this "
        "loss is of classes, robust, or your own; use conf_int() without obs=True, for the mean."
    )


@observation_bounds.register
def _(loss: Gaussian, output: Tensor, error: Tensor, phi: float, df: Df, alpha: float) -> Tensor:
    return interval(output, torch.hypot(error, torch.full_like(error, phi**0.5)), alpha, df)


@observation_bounds.register
def _(loss: GaussianMeanVariance, output: Tensor, error: Tensor, phi: float, df: Df, alpha: float) -> Tensor:
    """Take (m, 2) means and variances, and the standard errors of the means."""
    variance = output[:, 1].clamp_min(loss.floor)
    return interval(output[:, 0], torch.sqrt(error.square() + variance), alpha, df)


@observation_bounds.register
def _(loss: ErrorLoss, output: Tensor, error: Tensor, phi: float, df: Df, alpha: float) -> Tensor:
    return observation_bounds.dispatch(Objective)(loss, output, error, phi, df, alpha)


@observation_bounds.register
def _(loss: LinearIndex, output: Tensor, error: Tensor, phi: float, df: Df, alpha: float) -> Tensor:
    means = loss.mean(_around(output, error))
    return _quantiles(lambda mean: loss.distribution(mean, phi), means, alpha)


@observation_bounds.register
def _(loss: PoissonMean, output: Tensor, error: Tensor, phi: float, df: Df, alpha: float) -> Tensor:
    return _quantiles(
        lambda mean: PoissonLog().distribution(mean, phi), _around(output, error).clamp_min(loss.floor), alpha
    )


@observation_bounds.register
def _(loss: Probability, output: Tensor, error: Tensor, phi: float, df: Df, alpha: float) -> Tensor:
    return _quantiles(lambda mean: Logistic().distribution(mean, phi), _around(output, error).clamp(0.0, 1.0), alpha)


def _around(output: Tensor, error: Tensor) -> Tensor:
    """Return (m, q) the outputs at the nodes of Gauss-Hermite quadrature."""
    nodes, _ = np.polynomial.hermite_e.hermegauss(_NODES)
    return output[:, None] + error[:, None] * to_tensor(nodes, output)


def _quantiles(distribution: Any, means: Tensor, alpha: float) -> Tensor:
    """Return (m, 2) the quantiles at alpha / 2 and 1 - alpha / 2 of mixtures of distributions with (m, q) means at the nodes."""
    check_alpha(alpha)
    _, weights = np.polynomial.hermite_e.hermegauss(_NODES)
    weights = weights / weights.sum()
    plain = to_numpy(means)
    known = np.isfinite(plain).all(1)
    parts = distribution(np.where(known[:, None], plain, 0.5))
    discrete = isinstance(parts.dist, stats.rv_discrete)
    found = []
    for share in (alpha / 2.0, 1.0 - alpha / 2.0):
        each = parts.ppf(share)
        low, high = each.min(1) - 1.0 * discrete, each.max(1)
        for _ in range(_HALVINGS):
            middle = np.floor(0.5 * (low + high)) if discrete else 0.5 * (low + high)
            enough = parts.cdf(middle[:, None]) @ weights >= share
            low, high = np.where(enough, low, middle), np.where(enough, middle, high)
            if discrete and bool((high - low <= 1.0).all()):
                break
        found.append(np.where(known, high, np.nan))
    return to_tensor(np.stack(found, 1), means)
