"""Models of linear indices, by Newton's method in orthonormal columns, and where it starts."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from betahat.calculus.index import index_rows
from betahat.calculus.problem import Local, Problem
from betahat.calculus.rows import Bread, Point, Rows
from betahat.data.design import Design
from betahat.data.sample import Sample
from betahat.errors import EstimationError
from betahat.fits.at_optimum import check_converged, fit_at
from betahat.fits.fit import Fit, by_equation
from betahat.objectives.base import LinearIndex
from betahat.objectives.softmax import Softmax
from betahat.solvers.least_squares import (
    Rank,
    column_rank,
    column_relation,
    idle_directions,
    kept_first,
    minimum_norm_map,
)
from betahat.solvers.newton import (
    are_finite,
    newton,
    newton_step,
)
from betahat.solvers.triangles import inverse_triangle

# A large sample starts from the optimum of every so many rows.
_SAMPLE_ROWS = 2**15
# The optimum of all rows is about k of a sample's squared standard errors away from that of the sample.
_AS_NEAR = 4.0
# An index of least squares may leave what the link allows, unless the targets are nearer to their mean.
_SHARES = (1.0, 0.25, 0.0)


def fit_index(
    objective: LinearIndex | Softmax,
    design: Design,
    bread: Bread,
    rank: Rank,
    equations: tuple[str, ...] = (),
    start: Tensor | None = None,
) -> Fit:
    """Fit a model of one linear index, or of one for each equation, by Newton's method.

    Parameters
    ----------
    objective : LinearIndex or Softmax
        The loss.
    design : Design
        The data.
    bread : Bread
        Which information the bread is the inverse of.
    rank : {"pinv", "drop"}
        What becomes of dependent columns, as in least squares.
    equations : tuple of str
        The equations' names, for softmax.
    start : Tensor, optional
        (k,) where to start; None is zero, and for large data the optimum of a sample of rows.

    Returns
    -------
    Fit

    Notes
    -----
    Unless the Gram matrix is certified, Newton works in orthonormal columns X R^-1, so that neither units nor
    collinearity cost digits or steps.
    """
    kept, triangle = column_rank(design)
    whole = len(kept) == design.width
    reduced = design if whole else design.select(kept)
    problem, count = Problem(objective, reduced), max(len(equations), 1)
    if triangle is None:
        first = _sample_start(problem, count) if start is None else start
        return _newton_fit(problem, first, bread, design, kept, equations)
    ordered = triangle if whole else kept_first(triangle, kept)
    right = ordered[: len(kept), : len(kept)]
    back = by_equation(inverse_triangle(right), count)
    orthonormal = reduced.turned(inverse_triangle(right), reduced.names)
    turned = Problem(objective, orthonormal, back=back)
    first = first_params(turned, count) if start is None or not whole else by_equation(right, count) @ start
    found = _newton_fit(turned, first, bread, design, kept, equations)
    fit = replace(
        found,
        problem=problem,
        params=back @ found.params,
        root=back @ found.root,
        triangle=found.triangle @ by_equation(right, count),
        well_conditioned=False,
    )
    if whole:
        return fit
    relation = column_relation(ordered, kept)
    fit = replace(fit, idle=idle_directions(relation, kept))
    if rank == "drop":
        return fit
    relation, spread = by_equation(relation, count), by_equation(minimum_norm_map(relation), count)
    return replace(
        fit,
        problem=Problem(objective, design),
        params=spread @ fit.params,
        root=spread @ fit.root,
        triangle=torch.nn.functional.pad(fit.triangle @ relation, (0, 0, 0, len(spread) - spread.shape[1])),
    )


def _newton_fit(
    problem: Problem, start: Tensor, bread: Bread, given: Sample, kept: tuple[int, ...], equations: tuple[str, ...]
) -> Fit:
    path = newton(problem, start, cheap=True)
    check_converged(problem, path)
    return fit_at(problem, path, bread, "newton", given, kept, equations)


def _sample_start(problem: Problem, count: int) -> Tensor:
    """Return the optimum of a sample of rows, where there are so many that it saves steps."""
    part = _every_row_of_many(problem)
    return first_params(problem, count) if part is None else _optimum_or(part, first_params(part, count))


def nearer_start(problem: Problem, start: Tensor) -> Tensor:
    """Return the optimum of a sample of rows, unless a start is about as near to that of them all."""
    part = None if problem.penalty is not None else _every_row_of_many(problem)
    if part is None:
        return start
    local = part.evaluate(start, Bread.OBSERVED)
    distance = abs(float(newton_step(local) @ local.gradient)) / part.noise(local)
    return start if distance < _AS_NEAR * len(start) else _optimum_or(part, start)


def _every_row_of_many(problem: Problem) -> Problem | None:
    """Return the problem of every so many rows; None where there are few."""
    design = problem.sample
    assert isinstance(design, Design)
    every = design.rows // _SAMPLE_ROWS
    return None if every < 4 else Problem(problem.objective, design.every(every))


def _optimum_or(part: Problem, first: Tensor) -> Tensor:
    """Return the optimum of a sample, or where that is looked for from, if there is none."""
    try:
        path = newton(part, first, cheap=True)
    except EstimationError:  # a rare category may separate the sample and not the data
        return first
    return path.local.params if path.converged and bool(torch.isfinite(path.local.params).all()) else first


def first_params(problem: Problem, count: int) -> Tensor:
    """Return zeros, or one step of weighted least squares from an index near each target, whichever has the lower loss.

    The step goes along with the units of y, of weights, offsets and exposures, from which zeros may be too far.

    References
    ----------
    McCullagh and Nelder (1989), Generalized Linear Models, section 2.5.
    """
    objective, design = problem.objective, problem.sample
    assert isinstance(design, Design)
    zero = torch.zeros(design.width * count, dtype=torch.float64, device=design.device)
    if not isinstance(objective, LinearIndex):
        return zero
    mean = design.mean_of_endog
    at = Point(zero, zero[:0])
    far = float(problem.loss(zero))
    for share in _SHARES:
        information, moments = problem.total(partial(_first_step, mean, share), at)
        step = newton_step(Local(zero, mean, -moments, information))
        near = float(problem.loss(step)) if are_finite(step) else math.nan
        if math.isfinite(near):
            return zero if near > far else step
    return zero


def _first_step(mean: Tensor, share: float, rows: Rows) -> tuple[Tensor, Tensor]:
    return index_rows(rows).first_step(mean, share)
