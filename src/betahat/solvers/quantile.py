"""Quantile regression at its exact vertex; of many rows, the ones that are surely above or below the quantile are summed first."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from betahat.data.products import gram, product
from betahat.errors import EstimationError
from betahat.solvers.interior_point import interior_point
from betahat.solvers.triangles import inverse_triangle
from betahat.solvers.vertex import Vertex, basis, rounding_of, vertex

# With fewer rows than so many times those that stay, all go into one problem.
_MANY = 4.0
# So many times as many rows as the sample has stay between those that are summed: with fewer, some of those come back.
_BAND = 1.6
# The sample need not be solved to more digits than it has of all rows.
_ROUGH = 1e-3
# If more than this share of the rows between is on the other side than was thought, the sample was too small.
_WRONG = 0.1
_ROUNDS = 8
# With more rows, problems are solved one by one, each by way of a sample.
_LARGE = 20_000
# So many numbers in each of some twenty tensors fit into the cache of a CPU.
_PIECE = 2**15
# The rows of a vertex are trusted where no number of their inverse is larger.
_WELL = 1e6


def solve_quantile(x: Tensor, y: Tensor, weights: Tensor | None, q: float) -> Vertex:
    """Minimise the sum of w rho_q(y - x'b) over the coefficients of (n, k) independent columns, of about equal length.

    Of many rows, a sample of about n^(2/3) says which ones are far above or below the quantile. Those of a side enter as one row, their sum,
    which changes nothing as long as they are on that side at the solution; rows that are not come back.

    References
    ----------
    Portnoy and Koenker (1997), Statistical Science 12(4).
    """
    rows, width = x.shape
    size = math.ceil(math.sqrt(width) * rows ** (2.0 / 3.0))
    while size * _MANY < rows:
        found = _by_sample(x, y, weights, q, size)
        if found is not None:
            return found
        size *= 2
    return _whole(x, y, weights, q)


def _whole(x: Tensor, y: Tensor, weights: Tensor | None, q: float) -> Vertex:
    once = torch.ones_like(y) if weights is None else weights
    near = interior_point(x, y, once[None], q)
    return _from(x, y, weights, q, near.nearness[0], near.shares[0])


def _from(x: Tensor, y: Tensor, weights: Tensor | None, q: float, nearness: Tensor, shares: Tensor) -> Vertex:
    """Go on from an interior point."""
    rows = basis(x, weights, nearness)
    if rows is None:
        raise EstimationError(
            "There are fewer independent rows than coefficients among those whose weight is not zero; leave out columns, or weights of zero."
        )
    return vertex(x, y, weights, q, rows, shares >= 0.5)


def _by_sample(x: Tensor, y: Tensor, weights: Tensor | None, q: float, size: int) -> Vertex | None:
    """Return the solution by way of a sample of `size` rows; None where it misled."""
    count, width = x.shape
    generator = torch.Generator().manual_seed(count)
    drawn = torch.randint(count, (size,), generator=generator).to(x.device)
    part = x[drawn]
    products = gram(part)
    lower, failed = torch.linalg.cholesky_ex(products)
    if bool(failed) or float(lower.diagonal().min()) < 1e-7 * float(lower.diagonal().max()):
        return None
    some = torch.ones(size, dtype=x.dtype, device=x.device) if weights is None else weights[drawn]
    first = interior_point(part, y[drawn], some[None], q, _ROUGH).params[0]
    error = y - x @ first
    band = torch.linalg.vector_norm(product(x, inverse_triangle(lower.mT)), dim=1)
    far = error.abs() / band.clamp_min(1e-300)
    between = far <= torch.kthvalue(far, max(round(_BAND * size), 2 * width)).values
    above = error > 0.0
    known: Tensor | None = None
    for _ in range(_ROUNDS):
        places = between.nonzero().flatten()
        below, over = (_mean(x, y, weights, ~between & side) for side in (~above, above))
        joint = torch.cat([x[places], torch.stack([below.x, over.x])])
        values = torch.cat([y[places], torch.stack([below.y, over.y])])
        often = torch.cat(
            [_ones(places, x) if weights is None else weights[places], torch.stack([below.often, over.often])]
        )
        if known is None:
            inner = interior_point(joint, values, often[None], q)
            inner.nearness[0, -2:] = 0.0
            rows, side = basis(joint, often, inner.nearness[0]), inner.shares[0] >= 0.5
            if rows is None:
                return None
        else:  # from the vertex before, by pivots alone
            rows = torch.searchsorted(places, known)
            side = torch.ones(len(values), dtype=torch.bool, device=x.device)
        found = vertex(joint, values, often, q, rows, side)
        if int(found.rows.max()) >= len(places):
            return None
        known = places[found.rows]
        error = y - x @ found.params
        wrong = ~between & torch.where(above, error < 0.0, error > 0.0)
        missed = int(wrong.sum())
        if not missed:
            return replace(found, rows=places[found.rows])
        if missed > _WRONG * len(places):
            return None
        between |= wrong
    return None


@dataclass(frozen=True, eq=False)
class _Mean:
    """Rows as one: their (k,) and () means, and the () sum of their weights."""

    x: Tensor
    y: Tensor
    often: Tensor


def _mean(x: Tensor, y: Tensor, weights: Tensor | None, which: Tensor) -> _Mean:
    chosen = which.to(x.dtype) if weights is None else which * weights
    often = chosen.sum()
    once = often.clamp_min(1e-300)
    return _Mean(chosen @ x / once, chosen @ y / once, often)


def _ones(values: Tensor, like: Tensor) -> Tensor:
    return torch.ones(len(values), dtype=like.dtype, device=like.device)


def solve_quantiles(x: Tensor, y: Tensor, weights: Tensor, q: float) -> Tensor:
    """Return (R, k) the solutions under (R, n) weights, of (n,) or (R, n) values of y; NaN where the weights leave no solution.

    The rows of each vertex are those that the interior point is nearest to; the few for which these are not optimal are pivoted one by one.
    """
    rows, count = len(x), len(weights)
    if rows > _LARGE:
        return torch.stack([_or_nan(x, y if y.ndim == 1 else y[i], weights[i], q) for i in range(count)])
    step = max(_PIECE // rows, 1)
    return torch.cat(
        [_together(x, y if y.ndim == 1 else y[i : i + step], weights[i : i + step], q) for i in range(0, count, step)]
    )


def _together(x: Tensor, y: Tensor, weights: Tensor, q: float) -> Tensor:
    """Solve so many problems that their weights fit into the cache of a CPU."""
    width, y = x.shape[1], y.expand(len(weights), -1)
    near = interior_point(x, y, weights, q)
    rows = near.nearness.topk(width, dim=1).indices
    square = x[rows]
    inverse, failed = torch.linalg.inv_ex(square)
    right = y.gather(1, rows)
    params = torch.einsum("rij,rj->ri", inverse, right)
    params += torch.einsum("rij,rj->ri", inverse, right - torch.einsum("rij,rj->ri", square, params))
    errors = (y - params @ x.mT).scatter(1, rows, 0.0)
    below = errors < 0.0
    psi = (weights * (q - below.to(x))).scatter(1, rows, 0.0)
    duals = -torch.einsum("rij,ri->rj", inverse, psi @ x) / weights.gather(1, rows)
    inside = (torch.maximum(duals - q, q - 1.0 - duals) < 0.0).all(1)
    # a residual of zero beside the vertex is a tie, for which the pivots know what to do
    apart = errors.abs().scatter(1, rows, torch.inf).amin(1) > rounding_of(x, y)
    sound = inside & apart & (failed == 0) & (inverse.flatten(1).abs().amax(1) < _WELL)
    for i in (~sound).nonzero().flatten().tolist():
        params[i] = _or_nan(x, y[i], weights[i], q, near.nearness[i], near.shares[i])
    return params


def _or_nan(
    x: Tensor, y: Tensor, weights: Tensor, q: float, nearness: Tensor | None = None, shares: Tensor | None = None
) -> Tensor:
    """Return (k,) a solution; NaN where there is none."""
    held = weights > 0
    try:
        if nearness is None or shares is None:
            return solve_quantile(x[held], y[held], weights[held], q).params
        return _from(x, y, weights, q, nearness, shares).params
    except EstimationError:
        return x.new_full((x.shape[1],), math.nan)
