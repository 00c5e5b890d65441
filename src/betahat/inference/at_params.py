"""What a model says at parameters of one's own: log-likelihood, scores, Hessian and means."""

from __future__ import annotations

import torch
from torch import Tensor

from betahat.calculus.problem import Local, Problem
from betahat.calculus.rows import Bread, Point, times
from betahat.data.blocks import gather
from betahat.data.design import Design
from betahat.inference.likelihood import constant_of
from betahat.objectives.base import Claim, LinearIndex
from betahat.objectives.base import log_likelihood as log_likelihood_of
from betahat.objectives.softmax import Softmax


def log_likelihood_at(problem: Problem, params: Tensor, scale: float | None = None) -> float:
    """Return the log-likelihood at (k,) params; of least squares with the errors' variance `scale`, or None for RSS / n."""
    claim, sample = problem.objective.claim, problem.sample
    weights = sample.weights if isinstance(sample, Design) else None
    (loss,) = problem.total(lambda rows: (times(rows.losses, rows.counts).sum() + constant_of(rows),), _bare(params))
    nobs = float(sample.nobs)
    if claim is not Claim.LEAST_SQUARES or scale is None:
        return float(log_likelihood_of(claim, loss, nobs, weights))
    known = torch.full_like(loss, 0.5 * nobs * scale)  # the loss at which the variance at the maximum is the known one
    return float(log_likelihood_of(claim, known, nobs, weights) + (known - loss) / scale)


def score_at(problem: Problem, params: Tensor, scale: float | None = None) -> Tensor:
    """Return (k,) the derivative of the log-likelihood."""
    local = problem.evaluate(params, Bread.OBSERVED)
    return -local.gradient / _variance(problem, local, scale)


def scores_at(problem: Problem, params: Tensor, scale: float | None = None) -> Tensor:
    """Return (n, k) the rows' derivatives of the log-likelihood."""
    local = problem.evaluate(params, Bread.OBSERVED)
    return problem.gather(lambda rows: rows.scores(), _bare(params)) / _variance(problem, local, scale)


def hessian_at(problem: Problem, params: Tensor, scale: float | None = None) -> Tensor:
    """Return (k, k) the second derivatives of the log-likelihood; without `scale` of least squares, of -n/2 log RSS."""
    local = problem.evaluate(params, Bread.OBSERVED)
    variance = _variance(problem, local, scale)
    hessian = -local.information / variance
    if problem.objective.claim is not Claim.LEAST_SQUARES or scale is not None:
        return hessian
    slope = local.gradient / variance
    return hessian + 2.0 / float(problem.sample.nobs) * torch.outer(slope, slope)


def means_at(
    objective: LinearIndex | Softmax, exog: Tensor, params: Tensor, offset: Tensor | None, linear: bool
) -> Tensor:
    """Return (m,) E(y) at (m, k) regressors, or (m, J) probabilities; or, linear, the indices."""
    if isinstance(objective, Softmax):
        free = gather(lambda block: block.columns[0].to(params) @ params.reshape(-1, exog.shape[1]).mT, exog)
        index = torch.nn.functional.pad(free, (1, 0))
        return index if linear else torch.softmax(index, 1)
    index = gather(lambda block: block.columns[0].to(params) @ params, exog)
    index = index if offset is None else index + offset
    return index if linear else objective.mean(index)


def _variance(problem: Problem, local: Local, scale: float | None) -> Tensor | float:
    """Return what derivatives of the loss are divided by: of least squares the errors' variance, known or RSS / n."""
    if problem.objective.claim is not Claim.LEAST_SQUARES:
        return 1.0
    return 2.0 * local.loss / float(problem.sample.nobs) if scale is None else scale


def _bare(params: Tensor) -> Point:
    return Point(params, params.new_empty(0))
