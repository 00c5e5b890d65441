"""Levenberg-Marquardt with scaled steps, for losses that are half a sum of squares."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from betahat.calculus.general import LossRows, OutputRows
from betahat.calculus.problem import Problem
from betahat.calculus.rows import Bread, Point, Rows
from betahat.data.progress import progress
from betahat.errors import EstimationError
from betahat.solvers.triangles import joined_triangle, triangle_of

# The offset of Bates and Watts (1981): at 1e-10 the residuals are orthogonal to the tangent plane to ten digits.
_ORTHOGONAL = 1e-10
_ITERATIONS = 1000
_LARGEST_DAMPING = 1e20


@dataclass(frozen=True, eq=False)
class _Linearised:
    """J = QR and Q'r at residuals r, and their sum of squares."""

    params: Tensor
    triangle: Tensor
    rotated: Tensor
    square: Tensor


def levenberg_marquardt(problem: Problem, start: Tensor) -> tuple[Tensor, int]:
    """Minimise half a sum of squared residuals from a (k,) start; return the (k,) parameters and the number of iterations.

    Each step solves min |J d + r|^2 + m |D d|^2 by QR, where D holds the largest lengths that the columns of J have had; the damping m follows
    the ratio of actual to predicted decrease. More (1978), The Levenberg-Marquardt algorithm, Lecture Notes in Mathematics 630; Nielsen
    (1999), IMM-REP-1999-05, for the damping.
    """
    here = _linearise(problem, start)
    if here is None:
        raise EstimationError(
            "The output of the model or its derivatives are not finite at the starting parameters; pass parameters at which they are."
        )
    scale = torch.linalg.vector_norm(here.triangle, dim=0)
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    damping, growth = 1e-3, 2.0
    for iteration in progress(range(_ITERATIONS), "Levenberg-Marquardt"):
        explained = here.rotated @ here.rotated
        if bool(explained <= _ORTHOGONAL**2 * here.square):
            return here.params, iteration
        while True:
            step = _damped_step(here, damping, scale)
            if not bool((step.abs() > 1e-15 * here.params.abs()).any()):
                return here.params, iteration
            there = _linearise(problem, here.params + step)
            promised = explained - (here.triangle @ step + here.rotated).square().sum()
            gain = -1.0 if there is None else float((here.square - there.square) / promised)
            if there is not None and gain > 0:
                break
            damping, growth = damping * growth, 2.0 * growth
            if damping > _LARGEST_DAMPING:
                return here.params, iteration
        damping, growth = max(damping * max(1.0 / 3.0, 1.0 - (2.0 * gain - 1.0) ** 3), 1e-20), 2.0
        scale = torch.maximum(scale, torch.linalg.vector_norm(there.triangle, dim=0))
        here = there
    return here.params, _ITERATIONS


def _linearise(problem: Problem, params: Tensor) -> _Linearised | None:
    at = Point(params, params.new_empty(0), Bread.GAUSS_NEWTON)
    joint = joined_triangle(list(problem.each(lambda rows: triangle_of(_joined(rows)), at)))
    if not bool(torch.isfinite(joint).all()):
        return None
    width = len(params)
    return _Linearised(params, joint[:width, :width], joint[:width, width], joint[:, width].square().sum())


def _joined(rows: Rows) -> Tensor:
    assert isinstance(rows, LossRows | OutputRows)
    jacobian = rows.whitened(Bread.GAUSS_NEWTON)
    assert jacobian is not None
    return torch.cat([jacobian, rows.residuals()[:, None]], 1)


def _damped_step(here: _Linearised, damping: float, scale: Tensor) -> Tensor:
    width = len(here.params)
    left = torch.cat([here.triangle, damping**0.5 * torch.diag(scale)])
    right = torch.cat([-here.rotated, torch.zeros_like(here.rotated)])
    factor, triangle = torch.linalg.qr(left)
    step: Tensor = torch.linalg.solve_triangular(triangle, (factor.mT @ right)[:, None], upper=True)[:width, 0]
    return step
