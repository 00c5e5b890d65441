"""Other values of y: residuals that are put in another order, and draws from the model's distribution."""

from __future__ import annotations

from collections.abc import Callable
from functools import singledispatch

import torch
from torch import Tensor

from betahat.calculus.classes import ClassRows
from betahat.calculus.index import index_rows
from betahat.calculus.rows import Rows
from betahat.errors import EstimationError
from betahat.fit import Fit
from betahat.objectives.base import Claim, LinearIndex, Objective
from betahat.objectives.bernoulli import Logistic, Normit
from betahat.objectives.gaussian import Gaussian
from betahat.objectives.poisson import PoissonLog
from betahat.objectives.softmax import Softmax
from betahat.resampling.counter import uniforms
from betahat.resampling.weights import Multinomial

Targets = Callable[[Tensor], Tensor]
# Forty standard deviations and forty counts hold all but 1e-300 of a Poisson distribution.
_WIDTHS = 40.0


def parametric_targets(fit: Fit, seed: int) -> Targets:
    """Return a function of (R,) replicates: (R, n) y drawn from the model at the estimate.

    Raises
    ------
    EstimationError
        The objective is no distribution's, or rows have weights that no distribution explains.
    """
    objective = fit.objective
    if not isinstance(objective, LinearIndex | Softmax):
        raise EstimationError(_NO_DISTRIBUTION)
    design = fit.design
    _check_no_counts(fit, "parametric")
    if design.weights is not None and objective.claim is not Claim.LEAST_SQUARES:
        raise EstimationError(
            "The parametric bootstrap draws y from its distribution, which analytic weights do not tell; use kind='pairs', or leave the "
            "weights out."
        )
    index = fit.map_rows(_index)
    weights = None if design.weights is None else design.weights.to(index)
    spread = torch.as_tensor(1.0) if weights is None else weights.rsqrt()
    draw = _drawing(objective, index, spread * fit.dispersion.sqrt())
    return lambda replicates: draw(uniforms(seed, 0, replicates, len(index)))


def residual_targets(fit: Fit, seed: int, power: float) -> Targets:
    """Return a function of (R,) replicates: (R, n) y made of the fitted values and residuals of other rows.

    Parameters
    ----------
    fit : Fit
        Of a model of one index with a distribution; its residuals are Pearson's, (y - mu) / sqrt(V), and of least squares sqrt(w) (y - x'b).
    seed : int
        Which rows' is a function of it.
    power : float
        Residuals are divided by (1 - h)^power, then centred.

    References
    ----------
    Efron (1979), Ann. Stat. 7(1). Davison and Hinkley (1997), Bootstrap Methods and their Application, section 7.2.
    """
    if not isinstance(fit.objective, LinearIndex) or fit.objective.claim is Claim.NONE:
        raise EstimationError(
            "The residual bootstrap needs residuals of one variance, of OLS, WLS, Logit, Probit or Poisson; use kind='pairs' or 'score'."
        )
    _check_no_counts(fit, "residual")
    pearson = fit.map_rows(lambda rows: _pearson(rows) * _slack(rows, power))
    pearson = pearson - pearson.mean()
    index, slope = fit.map_rows(_index), fit.map_rows(_slopes)
    zero = fit.objective.residual(index, torch.zeros_like(index))
    unit = fit.objective.residual(index, torch.ones_like(index)) - zero
    scheme = Multinomial(len(index), len(index))
    # y whose generalized residual, which is linear in y, is the root of the information times the residual that was drawn
    return lambda replicates: (pearson[scheme.indices(seed, replicates)] * slope - zero) / unit


def slack_power(residuals: str) -> float:
    """Return the power of 1 / (1 - h) by which residuals are multiplied."""
    return {"raw": 0.0, "HC2": 0.5, "HC3": 1.0}[residuals]


def _slack(rows: Rows, power: float) -> Tensor:
    """Return (b,) (1 - h)^-power."""
    if power == 0.0:
        return torch.ones(len(rows)).to(rows.at.params)
    slack = 1.0 - rows.leverage
    if bool((slack < 1e-10).any()):
        raise EstimationError(
            "A row has leverage 1: it alone fixes a coefficient, so that its residual cannot be divided by 1 - h; use residuals='raw'."
        )
    return slack**-power


def scaled_scores(rows: Rows, power: float) -> Tensor:
    """Return (b, r) Z's scores, of residuals divided by (1 - h)^power."""
    return rows.scores(None if power == 0.0 else _slack(rows, power)) @ rows.at.root


def _index(rows: Rows) -> Tensor:
    return rows.index if isinstance(rows, ClassRows) else index_rows(rows).index


def _slopes(rows: Rows) -> Tensor:
    """Return (b,) the root of E(l'') over that of the weight: a generalized residual's standard deviation at weight one, over s."""
    block = index_rows(rows)
    slope = block.objective.expected_curvature(block.index).sqrt()
    return slope if block.weights is None else slope * block.weights.rsqrt()


def _pearson(rows: Rows) -> Tensor:
    """Return (b,) the generalized residual over its standard deviation, up to s."""
    block = index_rows(rows)
    root = block.objective.expected_curvature(block.index).sqrt()
    return block.residual / (root if block.weights is None else root * block.weights.sqrt())


def _check_no_counts(fit: Fit, kind: str) -> None:
    if fit.sample.counts is not None:
        raise EstimationError(
            f"The {kind} bootstrap draws a y for each row, and freq_weights make several rows of one; pass the rows themselves, or use "
            "kind='pairs'."
        )


@singledispatch
def _drawing(objective: Objective, index: Tensor, spread: Tensor) -> Callable[[Tensor], Tensor]:
    """Return a function of (R, n) uniforms: values of y by the inverse of its distribution function."""
    raise EstimationError(_NO_DISTRIBUTION)


_NO_DISTRIBUTION = (
    "The parametric bootstrap needs the distribution of y, which OLS, WLS, Logit, Probit, Poisson and MNLogit have; use kind='pairs' or "
    "'bayesian'."
)


@_drawing.register
def _(objective: Gaussian, index: Tensor, spread: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda uniform: index + spread * torch.special.ndtri(uniform)


@_drawing.register(Logistic)
@_drawing.register(Normit)
def _(objective: LinearIndex, index: Tensor, spread: Tensor) -> Callable[[Tensor], Tensor]:
    mean = objective.mean(index)
    return lambda uniform: (uniform < mean).to(torch.float64)


@_drawing.register
def _(objective: PoissonLog, index: Tensor, spread: Tensor) -> Callable[[Tensor], Tensor]:
    mean = objective.mean(index)
    return lambda uniform: _poisson(mean, uniform)


@_drawing.register
def _(objective: Softmax, index: Tensor, spread: Tensor) -> Callable[[Tensor], Tensor]:
    bounds = torch.softmax(index, 1).cumsum(1)[:, :-1]
    return lambda uniform: (uniform[:, :, None] > bounds).sum(2)


def _poisson(mean: Tensor, uniform: Tensor) -> Tensor:
    """Return the least k with P(X <= k) >= u, by bisection of the incomplete gamma function Q(k + 1, mean) = P(X <= k)."""
    margin = _WIDTHS * (1.0 + mean.sqrt())
    low = (mean - margin).clamp_min(-1.0).floor().expand_as(uniform)
    high = (mean + margin).ceil().expand_as(uniform)
    for _ in range(int(torch.log2(2.0 * margin.max() + 2.0).ceil()) + 1):
        middle = ((low + high) / 2.0).floor()
        above = torch.special.gammaincc(middle + 1.0, mean.expand_as(uniform)) >= uniform
        low, high = torch.where(above, low, middle), torch.where(above, middle, high)
    return high
