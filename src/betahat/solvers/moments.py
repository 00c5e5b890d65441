"""Solving estimating equations: Gauss-Newton steps, damped where they do not lower |C'F|, with the exact Hessian where they are slow.

F is the sum of q moments, W = C C' their weight, S the sum of their products. With as many moments as parameters a Gauss-Newton step is Newton's for F = 0.
The continuously updated weight is S^-1 at each point. There, with v = S^-1 F, the derivative of F'S^-1 F / 2 is the sum of (1 - v'm) dm, times v
(Donald and Newey 2000, Economics Letters 67(3)), and by the envelope theorem its Hessian is that of the sum of v'm - (v'm)^2 / 2 in theta, plus B'S^-1 B, B the
derivative of the sum of (1 - v'm) m.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from betahat.calculus.moments import Equations, Sums
from betahat.calculus.rows import root_of_counts, times
from betahat.data.engine import Block, scan
from betahat.data.progress import progress
from betahat.data.sample import in_order_of_call
from betahat.errors import EstimationError
from betahat.solvers.newton import are_finite
from betahat.solvers.triangles import joined_triangle, triangle_of

# As in `newton`: 1e-12 standard errors from the solution, and more beyond a hundred thousand rows.
_CONVERGED, _ROWS = 1e-24, 1e5
# Below these, |C'F| no longer tells two points apart, and a decrement that does not fall to a fourth is rounding.
_FLAT, _ROUNDING = 1e-6, 1e-12
# A step is no longer than the rounding of the parameters.
_STILL = 1e-15
# Gauss-Newton steps are slow near the minimum if a squared distance does not fall to this share.
_NEAR, _SLOW = 1.0, 1e-3
_ITERATIONS = 200
_DAMPING, _LARGEST_DAMPING, _UNDAMPED = 1e-3, 1e16, 1e-7
# Of columns of unit length: a smaller singular value is the rounding of a sum.
_NULL = 1e-12
# An eigenvalue of the moments' covariance, scaled to a unit diagonal, below this is rounding.
_SINGULAR = 1e-13


@dataclass(frozen=True, eq=False)
class Solved:
    """Where the solver stopped.

    Attributes
    ----------
    params : Tensor
        (k,).
    sums : Sums
        F and S there.
    root : Tensor
        (q, q) C, with C C' the weight.
    jacobian : Tensor
        (q, k) G there.
    decrement : float
        The squared distance from the solution in standard errors.
    steps : int
        How many were taken.
    converged, limited : bool
        Whether the decrement is as small as rounding allows, or small enough; whether the steps ran out.
    """

    params: Tensor
    sums: Sums
    root: Tensor
    jacobian: Tensor
    decrement: float
    steps: int
    converged: bool
    limited: bool = False


@dataclass(frozen=True, eq=False)
class _Place:
    """A point: F, S, the root C of the weight, r = C'F and its square."""

    params: Tensor
    sums: Sums
    root: Tensor
    residual: Tensor
    square: float


def solve_moments(equations: Equations, start: Tensor | Solved, root: Tensor | None) -> Solved:
    """Minimise F'W F from a (k,) start, or from the solution under another weight; W = C C' of a (q, q) root C, None the continuously updated one."""
    known = None if isinstance(start, Tensor) else start
    start = start if isinstance(start, Tensor) else start.params
    here = _place(equations, start, root, known)
    if here is None:
        raise EstimationError(
            "The moments are not finite at the starting parameters; pass other parameters, or look for values that overflow in the data or the function."
        )
    square = equations.count == len(start)
    exact = _CONVERGED * max(1.0, float(equations.sample.nobs) / _ROWS)
    sizes = torch.zeros_like(start)
    damping, last, bends = 0.0, math.inf, False
    for step in progress(range(_ITERATIONS), "moments"):
        plain = known.jacobian if step == 0 and known is not None and root is not None else None
        plain = _derivatives(equations, here, continuous=root is None) if plain is None else plain
        jacobian, own = here.root.mT @ plain, None if root is None else plain
        found = _decrement(here, jacobian, square=square)
        if found <= exact or (found < _ROUNDING and found > 0.25 * last):
            return _solved(equations, here, own, found, step, converged=True)
        bends = bends or (not square and found < _NEAR and found > _SLOW * last)
        sizes = torch.maximum(sizes, torch.linalg.vector_norm(jacobian, dim=0))
        curved = _newton_step(equations, here, jacobian, continuous=root is None) if bends else None
        while True:
            if damping == 0.0:
                move = _least_step(jacobian, here.residual) if curved is None else curved
            else:
                move = _damped_step(jacobian, here.residual, damping, sizes)
            if bool((move.abs() <= _STILL * here.params.abs()).all()):
                certain = damping == 0.0 and _regular(jacobian)
                return _solved(equations, here, own, found, step, converged=certain or found < _FLAT)
            there = _place(equations, here.params + move, root)
            allowed = here.square * (1.0 + 1e-13) if found < _FLAT else here.square
            if there is not None and (there.square < here.square or (found < _FLAT and there.square <= allowed)):
                break
            if damping == 0.0 and curved is not None:
                curved = None  # the Hessian may curve downward
                continue
            damping = max(10.0 * damping, _DAMPING)
            if damping > _LARGEST_DAMPING:
                return _solved(equations, here, own, found, step, converged=found < _FLAT)
        damping = 0.01 * damping if damping > _UNDAMPED else 0.0
        here, last = there, found
    return _solved(equations, here, None, last, _ITERATIONS, converged=last < _FLAT, limited=True)


def decrement_at(equations: Equations, params: Tensor, root: Tensor) -> Solved:
    """Return what is known at (k,) parameters that were found elsewhere, as if the solver had stopped there."""
    here = _place(equations, params, root)
    if here is None:
        raise EstimationError("The moments are not finite at these parameters; pass parameters at which they are.")
    plain = _derivatives(equations, here, continuous=False)
    square = equations.count == len(params)
    return _solved(equations, here, plain, _decrement(here, here.root.mT @ plain, square=square), 0, converged=False)


def moment_triangle(equations: Equations, params: Tensor, center: Tensor | None = None) -> Tensor:
    """Return (q, q) upper T with T'T the sum of (m - c)(m - c)', c a (q,) centre: twice the digits of a sum of products."""

    def of(block: Block) -> Tensor:
        with torch.no_grad():
            moments = equations.of(params, in_order_of_call(block)).detach()
        moments = moments if center is None else moments - center
        return triangle_of(times(moments, root_of_counts(block.get("counts"))))

    found = joined_triangle(list(scan(equations.sample.source, of, equations.sample.engine)))
    missing = equations.count - len(found)
    return torch.cat([found, found.new_zeros(missing, equations.count)]) if missing else found


def scaled_root(sums: Sums) -> Tensor:
    """Return (q, q) the diagonal root of a weight that gives moments a size of one: 1 over the root of their sum of squares."""
    sizes = sums.products.diagonal().sqrt()
    return torch.diag(torch.where(sizes > 0, 1.0 / sizes, torch.ones_like(sizes)))


def _place(equations: Equations, params: Tensor, root: Tensor | None, known: Solved | None = None) -> _Place | None:
    """Look at a point, where the sums may be known; None if the moments are not finite there, or have no continuously updated weight."""
    sums = equations.sums(params) if known is None else known.sums
    if not are_finite(sums.moments, sums.products):
        return None
    if root is None:
        scale = scaled_root(sums).diagonal()
        lower, failed = torch.linalg.cholesky_ex(scale[:, None] * sums.products * scale)
        if int(failed) or not float(lower.diagonal().min()) > _SINGULAR**0.5:
            return None
        eye = torch.eye(len(lower)).to(lower)
        root = scale[:, None] * torch.linalg.solve_triangular(lower, eye, upper=False).mT
    residual = root.mT @ sums.moments
    return _Place(params, sums, root, residual, float(residual @ residual))


def _derivatives(equations: Equations, here: _Place, *, continuous: bool) -> Tensor:
    """Return (q, k) G, or what C' makes of it has the gradient r of half the square where the weight is updated continuously."""
    found = equations.jacobian(here.params, here.root @ here.residual if continuous else None)
    if not are_finite(found):
        raise EstimationError(
            "The derivatives of the moments are not finite at the starting parameters, or at parameters that the solver came to; start elsewhere, or look "
            "for functions without a derivative, such as the square root at zero."
        )
    return found


def _decrement(here: _Place, jacobian: Tensor, *, square: bool) -> float:
    """Return the squared distance from the solution in standard errors: g'(J'M J)^-1 g, g = J'r and M = C'S C; F'S^-1 F where J is square."""
    products = here.root.mT @ here.sums.products @ here.root
    size = products.diagonal().max().clamp_min(torch.finfo(products.dtype).tiny).sqrt()
    products, residual = products / size / size, here.residual / size
    if square:
        return _quadratic(products, residual)
    lengths = torch.linalg.vector_norm(jacobian, dim=0)
    scaled = jacobian / torch.where(lengths > 0, lengths, torch.ones_like(lengths))
    return _quadratic(scaled.mT @ products @ scaled, scaled.mT @ residual)


def _quadratic(matrix: Tensor, vector: Tensor) -> float:
    """Return v'A^-1 v of a positive semi-definite matrix, without the directions that have lost all digits."""
    scale = matrix.diagonal().clamp_min(0.0).sqrt()
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    spectrum, vectors = torch.linalg.eigh(matrix / scale / scale[:, None])
    held = spectrum > _SINGULAR * spectrum[-1].clamp_min(torch.finfo(spectrum.dtype).tiny)
    along = vectors[:, held].mT @ (vector / scale)
    return float((along.square() / spectrum[held]).sum())


def _least_step(jacobian: Tensor, residual: Tensor) -> Tensor:
    """Return (k,) the shortest d that minimises |J d + r|, in parameters that are measured by the lengths of the columns of J."""
    sizes = torch.linalg.vector_norm(jacobian, dim=0)
    sizes = torch.where(sizes > 0, sizes, torch.ones_like(sizes))
    left, values, right = torch.linalg.svd(jacobian / sizes, full_matrices=False)
    held = values > _NULL * values[0]
    inverse = torch.where(held, 1.0 / torch.where(held, values, torch.ones_like(values)), torch.zeros_like(values))
    found: Tensor = right.mT @ (inverse * (left.mT @ residual))
    return -found / sizes


def _regular(jacobian: Tensor) -> bool:
    """Tell whether J determines every parameter."""
    sizes = torch.linalg.vector_norm(jacobian, dim=0)
    if not bool((sizes > 0).all()):
        return False
    values = torch.linalg.svdvals(jacobian / sizes)
    return bool(values[-1] > _NULL * values[0])


def _damped_step(jacobian: Tensor, residual: Tensor, damping: float, sizes: Tensor) -> Tensor:
    """Return (k,) the d that minimises |J d + r|^2 + damping |D d|^2, D the largest lengths that columns have had."""
    scale = torch.where(sizes > 0, sizes, torch.ones_like(sizes))
    factor, triangle = torch.linalg.qr(torch.cat([jacobian, damping**0.5 * torch.diag(scale)]))
    right = -(factor[: len(residual)].mT @ residual)
    found: Tensor = torch.linalg.solve_triangular(triangle, right[:, None], upper=True)[:, 0]
    return found


def _newton_step(equations: Equations, here: _Place, jacobian: Tensor, *, continuous: bool) -> Tensor | None:
    """Return (k,) the step with the exact Hessian; None where that does not curve upward, or torch cannot differentiate twice."""
    along = here.root @ here.residual
    try:
        second = equations.second(here.params, along, tilted=continuous)
    except RuntimeError:  # a backward pass that is not itself differentiable
        return None
    half = here.root.mT @ equations.tilted_jacobian(here.params, along) if continuous else jacobian
    hessian = half.mT @ half + second
    lower, failed = torch.linalg.cholesky_ex(hessian)
    if int(failed) or not are_finite(hessian):
        return None
    found: Tensor = torch.cholesky_solve((jacobian.mT @ here.residual)[:, None], lower)[:, 0]
    return -found


def _solved(
    equations: Equations,
    here: _Place,
    jacobian: Tensor | None,
    decrement: float,
    steps: int,
    *,
    converged: bool,
    limited: bool = False,
) -> Solved:
    found = equations.jacobian(here.params) if jacobian is None else jacobian
    return Solved(here.params, here.sums, here.root, found, decrement, steps, converged, limited)
