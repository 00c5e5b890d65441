"""Quantile regression at its exact vertex: from the rows that an interior point is near to, by the simplex method's pivots."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from betahat.errors import EstimationError

# A dual variable beyond its bounds by less than this share of the weights is at them.
_BOUND = 1e-9
# Residuals below so many units of the last place of the largest number in their sum are zero.
_ROUNDING = 256 * torch.finfo(torch.float64).eps
# A row whose part outside the span of the vertex's other rows is below this share of its length does not belong to the vertex.
_APART = 1e-9
# From so many pivots on that do not lower the loss, each takes the first row that will do, so that none comes back (Bland's rule).
_STUCK = 20
_PIVOTS = 20_000
# How many rows for each of the vertex are looked at first.
_CANDIDATES = 8


@dataclass(frozen=True, eq=False)
class Vertex:
    """The solution of a quantile regression.

    Attributes
    ----------
    params : Tensor
        (k,) coefficients, which fit k rows exactly.
    rows : Tensor
        (k,) the positions of these rows.
    unique : bool
        Whether there is no other solution.
    pivots : int
        How many pivots it took from where they began.
    """

    params: Tensor
    rows: Tensor
    unique: bool
    pivots: int


def vertex(x: Tensor, y: Tensor, weights: Tensor | None, q: float, rows: Tensor, above: Tensor) -> Vertex:
    """Return the solution of the sum of w rho_q(y - x'b), from the vertex of (k,) independent rows.

    `above` is (n,) whether a row that is not of the vertex is taken to lie above where its residual is zero.

    A vertex is optimal where the dual variables of its rows, which balance the scores of all others, are within q - 1 and q; otherwise such a row
    leaves, and the line that keeps the other rows is followed until the loss no longer falls.

    References
    ----------
    Barrodale and Roberts (1973), SIAM J. Numerical Analysis 10(5). Koenker and d'Orey (1987), Applied Statistics 36(3).
    """
    weights = torch.ones_like(y) if weights is None else weights
    used = weights > 0
    above = above.clone()
    stuck, zero_below = 0, rounding_of(x, y)
    for pivots in range(_PIVOTS):
        params, inverse = _through(x, y, rows)
        errors = y - x @ params
        errors[errors.abs() <= zero_below] = 0.0
        errors[rows] = 0.0
        upper = torch.where(errors == 0.0, above, errors > 0.0)
        psi = weights * (q - (~upper).to(x))
        psi[rows] = 0.0
        duals = -(inverse.mT @ (psi @ x)) / weights[rows]
        beyond = torch.maximum(duals - q, q - 1.0 - duals)
        if not bool((beyond > _BOUND).any()):
            edge = (beyond > -_BOUND).nonzero().flatten().tolist()
            free = any(_moves(x, errors, upper, used, rows, inverse[:, i], float(duals[i]) < q - 0.5) for i in edge)
            return Vertex(params, rows, not free, pivots)
        careful = stuck >= _STUCK
        leaving = int(beyond.argmax()) if not careful else _first(rows, beyond > _BOUND)
        below = float(duals[leaving]) < q - 0.5
        along = inverse[:, leaving] if below else -inverse[:, leaving]
        slope = -float(beyond[leaving] * weights[rows[leaving]])
        speed = x @ along
        speed[rows] = 0.0
        meets = used & torch.where(upper, speed > 0.0, speed < 0.0) & (speed.abs() > _APART * _length(along))
        places = meets.nonzero().flatten()
        assert len(places), "the loss is not less than zero, so that it stops falling"
        times, rates = errors[places] / speed[places], speed[places].abs() * weights[places]
        order = torch.argsort(times, stable=True)
        rises = rates[order].cumsum(0)
        if careful:
            first = places[times == times[order[0]]].min()
            passed, entering = places[:0], int(first)
        else:
            stop = int(torch.searchsorted(rises, -slope * (1.0 - 1e-14)).clamp_max(len(order) - 1))
            passed, entering = places[order[:stop]], int(places[order[stop]])
        length = float(times[places == entering])
        stuck = stuck + 1 if length == 0.0 else 0
        above = upper
        above[passed] = ~upper[passed]
        above[rows[leaving]] = not below
        rows = rows.clone()
        rows[leaving] = entering
    raise EstimationError(_ENDLESS)


_ENDLESS = (
    f"The solver has not found the solution in {_PIVOTS} pivots: too many rows have equal values of the dependent variable and the "
    "regressors. Add a little noise to the dependent variable, or pass rows once, with freq_weights."
)


def rounding_of(x: Tensor, y: Tensor) -> float:
    """Return the size of residuals that are rounding errors, of (n, k) regressors of about unit length and (n,) values of y."""
    return _ROUNDING * float(y.abs().max().clamp_min(1e-300))


def basis(x: Tensor, weights: Tensor | None, near: Tensor) -> Tensor | None:
    """Return the positions of k independent rows of (n, k) with a weight, those of the largest (n,) `near`; None if there are fewer."""
    near = near if weights is None else torch.where(weights > 0, near, 0.0)
    for count in (_CANDIDATES * x.shape[1], len(x)):
        places = near.topk(min(count, len(x))).indices
        found = _independent(x[places], near[places])
        if found is not None:
            return places[found]
    return None


def _independent(x: Tensor, near: Tensor) -> Tensor | None:
    """Return (k,) positions of rows in the order of a pivoted Gram-Schmidt process on (m, k) rows times the roots of `near`."""
    lengths = torch.linalg.vector_norm(x, dim=1)
    left = x / lengths.clamp_min(1e-300)[:, None]
    size = near.clamp_min(0.0).sqrt() * (lengths > 0)
    chosen: list[Tensor] = []
    for _ in range(x.shape[1]):
        apart = torch.linalg.vector_norm(left, dim=1)
        place = (size * torch.where(apart > 1e-6, apart, 0.0)).argmax()
        if not bool(size[place] > 0) or not bool(apart[place] > 1e-6):
            return None
        chosen.append(place)
        unit = left[place] / apart[place]
        left = left - (left @ unit)[:, None] * unit
    return torch.stack(chosen)


def _through(x: Tensor, y: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return the coefficients that fit (k,) rows exactly, and the (k, k) inverse of these rows."""
    square, right = x[rows], y[rows]
    inverse = torch.linalg.solve(square, torch.eye(len(rows)).to(square))
    params = inverse @ right
    for _ in range(2):
        params = params + inverse @ (right - square @ params)
    return params, inverse


def _moves(x: Tensor, errors: Tensor, upper: Tensor, used: Tensor, rows: Tensor, along: Tensor, below: bool) -> bool:
    """Tell whether the line on which a row leaves is free of rows with a residual of zero, so that it has other solutions."""
    speed = x @ (along if below else -along)
    speed[rows] = 0.0
    blocks = used & (errors == 0.0) & torch.where(upper, speed > 0.0, speed < 0.0)
    return not bool((blocks & (speed.abs() > _APART * _length(along))).any())


def _length(along: Tensor) -> Tensor:
    length: Tensor = torch.linalg.vector_norm(along)
    return length


def _first(rows: Tensor, which: Tensor) -> int:
    """Return the place of the row that comes first in the data, among some."""
    return int(torch.where(which, rows, rows.max() + 1).argmin())
