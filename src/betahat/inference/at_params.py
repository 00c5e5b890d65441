"""Log-likelihood, scores, Hessian and means at any parameters."""

from __future__ import annotations

import torch
from torch import Tensor

from betahat.calculus.indices import columns_of, indices_at
from betahat.calculus.problem import Problem
from betahat.calculus.rows import Bread, Point, times
from betahat.data.engine import Block, gather
from betahat.data.source import Held
from betahat.inference.likelihood import log_likelihood_of
from betahat.objectives.base import Objective
from betahat.objectives.indices import LinearIndices


def log_likelihood_at(problem: Problem, params: Tensor, scale: float | None = None) -> float:
    """Return the log-likelihood at (k,) params; for least squares with the error variance `scale`, or RSS / n if None."""
    (loss,) = problem.total(lambda rows: (times(rows.losses, rows.counts).sum(),), _bare(params))
    phi = _dispersion(problem, params, loss, scale)
    return float(
        log_likelihood_of(problem, loss, phi, lambda term: problem.total(lambda rows: (term(rows),), _bare(params))[0])
    )


def score_at(problem: Problem, params: Tensor, scale: float | None = None) -> Tensor:
    """Return (k,) the gradient of the log-likelihood."""
    local = problem.evaluate(params, Bread.OBSERVED)
    return -local.gradient / _dispersion(problem, params, local.loss, scale)


def scores_at(problem: Problem, params: Tensor, scale: float | None = None) -> Tensor:
    """Return (n, k) the gradients of the log-likelihood of each row."""
    local = problem.evaluate(params, Bread.OBSERVED)
    return problem.gather(lambda rows: rows.scores(), _bare(params)) / _dispersion(problem, params, local.loss, scale)


def hessian_at(problem: Problem, params: Tensor, scale: float | None = None) -> Tensor:
    """Return (k, k) the second derivatives of the log-likelihood; for least squares without `scale`, of -n/2 log RSS."""
    local = problem.evaluate(params, Bread.OBSERVED)
    variance = _dispersion(problem, params, local.loss, scale)
    hessian = -local.information / variance
    if not problem.objective.dispersion.concentrated or scale is not None:
        return hessian
    slope = local.gradient / variance
    return hessian + 2.0 / float(problem.sample.nobs) * torch.outer(slope, slope)


def means_at(objective: Objective, exog: Tensor, params: Tensor, offset: Tensor | None, linear: bool) -> Tensor:
    """Return (m,) E(y) at (m, k) regressors, or (m, J) probabilities; if `linear`, the index, or (m, J) indices."""
    if objective.indices is not None:
        several = objective.indices
        free = indices_of(several, exog, params, offset)
        return several.shown(free) if linear else several.mean(free)
    index = gather(Held({"x": exog}), lambda block: block["x"].to(params) @ params)
    index = index if offset is None else index + offset
    if linear:
        return index
    assert objective.one_index is not None
    return objective.one_index.mean(index)


def indices_of(objective: LinearIndices, exog: Tensor, params: Tensor, offset: Tensor | None) -> Tensor:
    """Return (m, q) the indices at (m, k) regressors."""
    rows = {"x": exog} if offset is None else {"x": exog, "offset": offset}

    def indices(block: Block) -> Tensor:
        return indices_at(objective, columns_of(objective, block["x"].to(params)), params, block.get("offset"))

    return gather(Held(rows), indices)


def _dispersion(problem: Problem, params: Tensor, loss: Tensor, scale: float | None) -> Tensor:
    """Return () by what derivatives of the loss are divided: `scale` if it is known, otherwise phi at the parameters."""
    if scale is not None:
        return torch.full_like(loss, scale)
    nobs = float(problem.sample.nobs)
    df = max(nobs - len(params), 1.0)
    return problem.objective.dispersion.within_other(loss, nobs, df, problem.misfit(params))


def _bare(params: Tensor) -> Point:
    return Point(params, params.new_empty(0))
