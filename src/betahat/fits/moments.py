"""Estimating equations solved: one, two or more steps of weights, the continuously updated one, and the fit at the solution."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from betahat.calculus.moments import Equations
from betahat.calculus.problem import Local, Problem
from betahat.data.sample import Sample
from betahat.errors import EstimationError, counted, listed
from betahat.fits.fit import Fit
from betahat.objectives.moment_conditions import MomentConditions, Steps, Weighting
from betahat.solvers.moments import Solved, decrement_at, moment_triangle, scaled_root, solve_moments
from betahat.solvers.newton import Optimum
from betahat.solvers.slopes import check_jacobian
from betahat.solvers.triangles import inverse_triangle, triangle_of

# Columns of the Jacobian, or moments, of unit length: a direction with a smaller singular value leaves no digit to trust.
_NULL = 1e-10
# Weights are found anew until the parameters move by no more than this, in squared standard errors, or by rounding.
_SETTLED, _ROUNDING, _ROWS = 1e-24, 1e-16, 1e5
_WEIGHTS = 1000
# A parameter is one of a direction if its share of it is larger.
_PART = 0.1


@dataclass(frozen=True, eq=False)
class Estimate:
    """Parameters and the weight that they belong to.

    Attributes
    ----------
    solved : Solved
        The parameters, and the root C of the weight.
    efficient : bool
        Whether the weight is the inverse of the covariance of the moments.
    steps : int
        All steps of the solver.
    """

    solved: Solved
    efficient: bool
    steps: int


def fit_moments(conditions: MomentConditions, sample: Sample, start: Tensor, *, polish: bool) -> Fit:
    """Solve the equations from a (k,) start, or, without `polish`, take the start as it is."""
    equations = Equations(conditions, sample)
    check_jacobian(equations, start)
    found = estimated(equations, start, conditions.weighting) if polish else _as_given(equations, start)
    if polish:
        _check_converged(equations, found.solved)
    return fit_of_estimate(equations, found, "gauss-newton" if polish else "as given")


def solved_elsewhere(conditions: MomentConditions, sample: Sample, params: Tensor, jacobian: Tensor, route: str) -> Fit:
    """Return the fit of as many equations as parameters at a solution that is known, (k,), with the (k, k) Jacobian of their sum; `route` says how it was found."""
    equations = Equations(conditions, sample)
    there = Solved(params, equations.sums(params), torch.eye(len(params)).to(params), jacobian, 0.0, 0, True)
    return fit_of_estimate(equations, Estimate(replace(there, root=_comparable_root(equations, there)), True, 0), route)


def fit_of_estimate(equations: Equations, found: Estimate, route: str) -> Fit:
    """Return the fit at an estimate, which the moments must identify."""
    conditions, sample = equations.objective, equations.sample
    params, root = found.solved.params, found.solved.root
    turned = root.mT @ found.solved.jacobian
    _check_identified(turned, sample.names)
    direction, triangle = torch.linalg.qr(turned)
    turn = -root @ direction
    weighed = conditions.at(turn, turn @ triangle, efficient=found.efficient)
    residual = root.mT @ found.solved.sums.moments
    loss = residual @ residual
    local = Local(params, loss, turned.mT @ residual, triangle.mT @ triangle)
    path = Optimum(local, found.solved.decrement, found.steps, found.solved.converged, found.solved.limited)
    return Fit(
        Problem(weighed, sample),
        params,
        inverse_triangle(triangle),
        triangle,
        loss,
        route,
        False,
        sample,
        tuple(range(len(params))),
        path=path,
    )


def refit_moments(conditions: MomentConditions, sample: Sample, start: Tensor, shift: Tensor | None = None) -> Tensor:
    """Return (k,) the estimates on other rows, with their own weight, from those of the fit; a (q,) `shift` is taken off each row's moments."""
    equations = Equations(conditions, sample, shift)
    solved = estimated(equations, start, conditions.weighting).solved
    _check_converged(equations, solved)
    _check_identified(solved.root.mT @ solved.jacobian, sample.names)
    return solved.params


def estimated(equations: Equations, start: Tensor, weighting: Weighting) -> Estimate:
    """Solve the equations, step by step as the weighting says."""
    if equations.count == len(start):
        return _just_identified(equations, start, weighting)
    eye = torch.eye(equations.count).to(start)
    if weighting.steps is Steps.GIVEN:
        assert weighting.matrix is not None
        found = _first(equations, start, torch.linalg.cholesky(weighting.matrix))
        return Estimate(found, False, found.steps)
    first = _first(equations, start, eye)
    if weighting.steps is Steps.ONE:
        return Estimate(first, False, first.steps)
    _check_converged(equations, first)
    found, steps = _reweighed(equations, first, weighting), first.steps
    steps += found.steps
    if weighting.steps is Steps.ITERATED:
        return _iterated(equations, found, weighting, steps)
    if weighting.steps is Steps.CONTINUOUS:
        _check_converged(equations, found)
        found = solve_moments(equations, found, None)
        steps += found.steps
        if weighting.center:  # the minimum is the same, as F'S^-1 F grows with F'(S - F F'/n)^-1 F
            found = replace(found, root=efficient_root(equations, found.params, center=True))
    return Estimate(found, True, steps)


def _first(equations: Equations, start: Tensor, root: Tensor) -> Solved:
    """Solve from the user's start; where sizes of moments far apart make the way narrow, by way of moments of a size of one."""
    found = solve_moments(equations, start, root)
    if found.converged:
        return found
    near = solve_moments(equations, start, scaled_root(equations.sums(start)))
    there = solve_moments(equations, near, root)
    return replace(there, steps=found.steps + near.steps + there.steps)


def efficient_root(equations: Equations, params: Tensor, *, center: bool) -> Tensor:
    """Return (q, q) C with C C' the inverse of the sum of m m', of moments about their mean if they are centred."""
    found = _inverse_root(equations, params, center=center)
    if found is None:
        raise EstimationError(
            f"The covariance of the {equations.count} moments is singular, so it has no inverse to weigh them by: some are combinations of the others, or "
            f"there are too few rows ({equations.sample.nobs:g}); leave such moments out, or pass weights='identity' or a matrix."
        )
    return found


def _inverse_root(equations: Equations, params: Tensor, *, center: bool) -> Tensor | None:
    mean = equations.sums(params).moments / float(equations.sample.nobs) if center else None
    triangle = moment_triangle(equations, params, mean)
    sizes = torch.linalg.vector_norm(triangle, dim=0)
    if not bool((sizes > 0).all()) or not bool(torch.isfinite(triangle).all()):
        return None
    values = torch.linalg.svdvals(triangle / sizes)
    if not float(values[-1]) > _NULL * float(values[0]):
        return None
    return inverse_triangle(triangle_of(triangle))


def _just_identified(equations: Equations, start: Tensor, weighting: Weighting) -> Estimate:
    """Solve as many equations as parameters, whatever the weight; that of the fit makes rows comparable."""
    found = solve_moments(equations, start, scaled_root(equations.sums(start)))
    return Estimate(replace(found, root=_comparable_root(equations, found)), True, found.steps)


def _comparable_root(equations: Equations, found: Solved) -> Tensor:
    """Return the (k, k) root of a weight that makes the rows of as many moments as parameters comparable."""
    root = _inverse_root(equations, found.params, center=False)
    return scaled_root(found.sums) if root is None else root


def _as_given(equations: Equations, params: Tensor) -> Estimate:
    """Weigh the moments at parameters that were found elsewhere."""
    weighting = equations.objective.weighting
    efficient = equations.count == len(params) or weighting.steps not in (Steps.GIVEN, Steps.ONE)
    if efficient:
        root = _inverse_root(equations, params, center=weighting.center and equations.count > len(params))
        root = scaled_root(equations.sums(params)) if root is None else root
    elif weighting.matrix is not None:
        root = torch.linalg.cholesky(weighting.matrix)
    else:
        root = torch.eye(equations.count).to(params)
    return Estimate(decrement_at(equations, params, root), efficient, 0)


def _reweighed(equations: Equations, before: Solved, weighting: Weighting) -> Solved:
    root = efficient_root(equations, before.params, center=weighting.center)
    return solve_moments(equations, before, root)


def _iterated(equations: Equations, found: Solved, weighting: Weighting, steps: int) -> Estimate:
    """Find weights anew until the parameters stay where they are."""
    exact, last = _SETTLED * max(1.0, float(equations.sample.nobs) / _ROWS), float("inf")
    for _ in range(_WEIGHTS):
        _check_converged(equations, found)
        there = _reweighed(equations, found, weighting)
        steps += there.steps
        moved = (there.root.mT @ (there.jacobian @ (there.params - found.params))).square().sum()
        size = float(moved)
        found = there
        if size <= exact or (size < _ROUNDING and size > 0.25 * last):
            return Estimate(found, True, steps)
        last = size
    raise EstimationError(
        f"The weights do not settle: after {_WEIGHTS} of them the parameters still move by {last**0.5:.2g} standard errors; use weights='two-step' or "
        "'continuously-updated'."
    )


def _check_converged(equations: Equations, found: Solved) -> None:
    """Refuse a point that is not near enough to a solution, and say whether the moments identify the parameters there."""
    if found.converged:
        return
    square = equations.count == len(found.params)
    if square:
        what, remedy = (
            "sums of the moments are still",
            "there may be no solution, or none near the start: check the moments, or start elsewhere",
        )
    else:
        what, remedy = "parameters are still", "start elsewhere, or rescale the moments to similar sizes"
    along = _unidentified(found.root.mT @ found.jacobian, equations.sample.names)
    singular = (
        f", and their Jacobian is singular along {listed(along)}, which they do not identify there" if along else ""
    )
    raise EstimationError(
        f"The solver stopped after {counted(found.steps, 'step')}, where the {what} {found.decrement**0.5:.2g} standard errors from "
        f"{'zero' if square else 'a minimum'}{singular}; {remedy}."
    )


def _check_identified(turned: Tensor, names: tuple[str, ...]) -> None:
    """Refuse parameters that the moments do not depend on, or not separately, by the (q, k) Jacobian C'G."""
    sizes = torch.linalg.vector_norm(turned, dim=0)
    idle = [name for name, size in zip(names, sizes.tolist(), strict=True) if size == 0.0]
    if idle:
        raise EstimationError(
            f"The moments do not depend on {listed(idle)} at the solution, so they say nothing about {'them' if len(idle) > 1 else 'it'}; start elsewhere, "
            "leave such parameters out, or add moments that determine them."
        )
    along = _unidentified(turned, names)
    if along:
        raise EstimationError(
            f"The moments do not identify {listed(along)} separately: their Jacobian is singular; leave some out, or add moments that determine them."
        )


def _unidentified(turned: Tensor, names: tuple[str, ...]) -> list[str]:
    """Return the names of the parameters that move along the null directions of the Jacobian."""
    sizes = torch.linalg.vector_norm(turned, dim=0)
    _, values, right = torch.linalg.svd(
        turned / torch.where(sizes > 0, sizes, torch.ones_like(sizes)), full_matrices=False
    )
    null = values <= _NULL * values[0]
    if not bool(null.any()):
        return []
    share = right[null].abs().amax(0)
    return [name for name, part in zip(names, (share / share.max()).tolist(), strict=True) if part > _PART]
