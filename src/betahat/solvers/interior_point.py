"""Quantile regression near its optimum, by Frisch and Newton's interior point method: many problems of the same rows at once."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from betahat.data.products import gram

# How near to the boundary a step goes.
_SHORT = 0.99995
# The largest share of the summed loss that the duality gap may be: the rows of the vertex are known long before.
NEAR = 1e-9
_ITERATIONS = 60
# The smallest number that is divided by.
_TINY = 1e-300
# A row of weight zero has this share of the largest weight.
_NO_WEIGHT = 1e-30


@dataclass(frozen=True, eq=False)
class Interior:
    """Points near the optima of R problems.

    Attributes
    ----------
    params : Tensor
        (R, k) coefficients.
    shares : Tensor
        (R, n) how far each row's dual variable is between its bounds: 0 below the fitted quantile, 1 above.
    nearness : Tensor
        (R, n) large for the rows that the fitted quantile goes through, the rows of the vertex.
    """

    params: Tensor
    shares: Tensor
    nearness: Tensor


@dataclass(frozen=True, eq=False)
class _Step:
    """A direction of the dual variables and of both multipliers, (R, n) each, and of (R, k) coefficients."""

    params: Tensor
    dual: Tensor
    below: Tensor
    above: Tensor


def interior_point(x: Tensor, y: Tensor, weights: Tensor, q: float, near: float = NEAR) -> Interior:
    """Minimise the sum of w rho_q(y - x'b) for (R, n) weights and values of y, (R, n) or (n,), with (n, k) regressors.

    It starts from least squares, and ends where the duality gap is below the share `near` of the loss.

    The dual is to maximise y'a subject to X'a = (1 - q) X'w and 0 <= a <= w; Mehrotra's predictor and corrector keep both sides feasible.

    References
    ----------
    Portnoy and Koenker (1997), Statistical Science 12(4). Mehrotra (1992), SIAM J. Optimization 2(4).
    """
    count = len(weights)
    y = y.expand(count, -1)
    result = Interior(x.new_empty(count, x.shape[1]), torch.empty_like(weights), torch.empty_like(weights))
    upper = torch.maximum(weights, _NO_WEIGHT * weights.amax(1, keepdim=True))
    table = None if count == 1 else _products(x)
    active = torch.arange(count, device=x.device)
    dual, slack = (1.0 - q) * upper, q * upper
    params = _solve(_grams(x, table, upper), (upper * y) @ x)
    error = y - params @ x.mT
    spread = error.abs().median(1, keepdim=True).values.clamp_min(_TINY)
    above, below = error.clamp_min(0.0) + 0.1 * spread, (-error).clamp_min(0.0) + 0.1 * spread
    ended = torch.zeros(count, dtype=torch.bool, device=x.device)
    for _ in range(_ITERATIONS):
        gap = (dual * below + slack * above).sum(1)
        # above - below is the residual, so that the loss is the sum of w times q above + (1 - q) below, up to what both have in common
        size = (upper * (q * above + (1.0 - q) * below)).sum(1)
        done = (gap <= near * size) | ended
        if bool(done.any()):
            _keep(result, active[done], params[done], (dual / upper)[done], _nearness(dual, slack, below, above)[done])
            left = ~done
            active = active[left]
            if not len(active):
                return result
            dual, slack, below, above = dual[left], slack[left], below[left], above[left]
            params, y, upper, gap = params[left], y[left], upper[left], gap[left]
        scale = (below / dual + above / slack).reciprocal()
        factor = _factor(_grams(x, table, scale))
        first = _direction(x, factor, scale, below - above, dual, slack, below, above, None)
        primal, other = _lengths(first, dual, slack, below, above)
        moved = (dual + primal * first.dual) * (below + other * first.below)
        moved += (slack - primal * first.dual) * (above + other * first.above)
        ratio = moved.sum(1) / gap
        centre = (gap * ratio.pow(3) / (2 * dual.shape[1]))[:, None]
        step = _direction(x, factor, scale, below - above, dual, slack, below, above, (centre, first))
        primal, other = _lengths(step, dual, slack, below, above)
        ended = ~torch.isfinite(step.dual.sum(1) + step.below.sum(1) + step.above.sum(1))
        if bool(ended.any()):  # by rounding; the simplex method goes on from the point before
            primal, other = (torch.where(ended[:, None], 0.0, length) for length in (primal, other))
            parts = (step.params, step.dual, step.below, step.above)
            step = _Step(*(torch.where(ended[:, None], 0.0, part) for part in parts))
        # the slack by itself, since what is left of a large weight less the dual would be rounding
        dual, slack = dual + primal * step.dual, slack - primal * step.dual
        below, above = below + other * step.below, above + other * step.above
        params = params + other * step.params
    _keep(result, active, params, dual / upper, _nearness(dual, slack, below, above))
    return result


def _direction(
    x: Tensor,
    factor: Tensor,
    scale: Tensor,
    residual: Tensor,
    dual: Tensor,
    slack: Tensor,
    below: Tensor,
    above: Tensor,
    corrected: tuple[Tensor, _Step] | None,
) -> _Step:
    """Return Newton's direction: towards zero products of variables and multipliers, or towards a centre, second-order terms included."""
    low = torch.zeros_like(dual) if corrected is None else corrected[0] - corrected[1].dual * corrected[1].below
    high = torch.zeros_like(dual) if corrected is None else corrected[0] + corrected[1].dual * corrected[1].above
    low, high = low / dual, high / slack
    wanted = residual - low + high
    params = torch.cholesky_solve(((scale * wanted) @ x)[:, :, None], factor)[:, :, 0]
    change = scale * (params @ x.mT - wanted)
    down = low - below - below / dual * change
    up = high - above + above / slack * change
    return _Step(-params, change, down, up)


def _lengths(step: _Step, dual: Tensor, slack: Tensor, below: Tensor, above: Tensor) -> tuple[Tensor, Tensor]:
    """Return (R, 1) how far the dual variables, and the multipliers, may go."""
    primal = torch.maximum((-step.dual / dual).amax(1), (step.dual / slack).amax(1))
    other = torch.maximum((-step.below / below).amax(1), (-step.above / above).amax(1))
    both = [(_SHORT / most.clamp_min(_SHORT))[:, None] for most in (primal, other)]
    return both[0], both[1]


def _nearness(dual: Tensor, slack: Tensor, below: Tensor, above: Tensor) -> Tensor:
    return (below / dual + above / slack).reciprocal()


def _keep(result: Interior, which: Tensor, params: Tensor, shares: Tensor, nearness: Tensor) -> None:
    result.params[which], result.shares[which], result.nearness[which] = params, shares, nearness


def _products(x: Tensor) -> Tensor:
    """Return (n, k (k + 1) / 2) the products of the columns, so that Gram matrices of many weights are one product."""
    upper = torch.triu_indices(x.shape[1], x.shape[1], device=x.device)
    return x[:, upper[0]] * x[:, upper[1]]


def _grams(x: Tensor, table: Tensor | None, weights: Tensor) -> Tensor:
    """Return (R, k, k) X'WX of (R, n) weights."""
    if table is None:
        return gram(x, weights[0].sqrt())[None]
    width = x.shape[1]
    upper = torch.triu_indices(width, width, device=x.device)
    packed = weights @ table
    full = packed.new_empty(len(weights), width, width)
    full[:, upper[0], upper[1]] = packed
    full[:, upper[1], upper[0]] = packed
    return full


def _factor(matrix: Tensor) -> Tensor:
    """Return the (R, k, k) Cholesky factors, of matrices that may be singular to rounding near the optimum."""
    factor, failed = torch.linalg.cholesky_ex(matrix)
    if bool(failed.any()):
        diagonal = matrix.diagonal(dim1=1, dim2=2)
        lifted = matrix + torch.diag_embed(1e-12 * diagonal + _TINY)
        return torch.where((failed > 0)[:, None, None], torch.linalg.cholesky_ex(lifted)[0], factor)
    found: Tensor = factor
    return found


def _solve(matrix: Tensor, right: Tensor) -> Tensor:
    solved: Tensor = torch.cholesky_solve(right[:, :, None], _factor(matrix))[:, :, 0]
    return solved
