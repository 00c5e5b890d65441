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
from betahat.errors import EstimationError, listed
from betahat.fits.at_optimum import check_converged, fit_of
from betahat.fits.directions import by_equation
from betahat.fits.fit import Fit
from betahat.objectives.base import Objective
from betahat.objectives.indices import LinearIndices
from betahat.solvers.least_squares import (
    Rank,
    column_rank,
    column_relation,
    idle_directions,
    kept_first,
    minimum_norm_map,
)
from betahat.solvers.newton import are_finite, newton, newton_step
from betahat.solvers.triangles import inverse_triangle

# A large sample starts from the optimum of every so many rows: a share of them within limits, or the fewest where a row costs more.
_SAMPLE_ROWS, _MOST, _SHARE = 2**13, 2**15, 2**5
# With fewer rows for each column their optimum is too far away, if there is one.
_ROWS_OF_COLUMN = 20
# The optimum of all rows is about k of a sample's squared standard errors away from that of the sample.
_AS_NEAR = 4.0
# An index of least squares may leave what the link allows, unless the targets are nearer to their mean.
_SHARES = (1.0, 0.25, 0.0)


def fit_index(
    objective: Objective,
    design: Design,
    bread: Bread,
    rank: Rank,
    start: Tensor | None = None,
) -> Fit:
    """Fit a model of linear indices, whose derivatives are closed forms, by Newton's method, from zero or, with large data, the optimum of a sample of rows.

    Unless the Gram matrix is certified, Newton works in orthonormal columns X R^-1, so that neither units nor collinearity cost digits or
    steps. `rank` treats dependent columns as least squares does; indices with different columns must not have any.
    """
    several = objective.indices
    if several is not None and not several.uniform:
        if all(column_rank(design.select(place))[1] is None for place in several.places(design.width) if place):
            return _fit_as_it_is(several, design, bread, start)
        return _fit_turned(several, design, bread, start, *_triangles(several, design))
    kept, triangle = column_rank(design)
    whole = len(kept) == design.width
    if triangle is None:
        return _fit_as_it_is(objective, design, bread, start)
    reduced = design if whole else design.select(kept)
    ordered = triangle if whole else kept_first(triangle, kept)
    right = ordered[: len(kept), : len(kept)]
    equations, single = objective.equations, right.new_ones(1, 1)
    triangles = tuple(single if equation.constant else right for equation in equations) or (right,)
    orthonormal = reduced.turned(inverse_triangle(right), reduced.names)
    relation = torch.eye(len(kept)).to(right) if whole else column_relation(ordered, kept)
    inner = None if start is None else by_equation(relation, equations, single) @ start
    fit = _fit_turned(objective, reduced, bread, inner, orthonormal, objective, triangles)
    if whole:
        return fit
    fit = replace(fit, given=design, kept=kept, idle=idle_directions(relation, kept))
    if rank == "drop":
        return fit
    spread = by_equation(minimum_norm_map(relation), equations, single)
    relation = by_equation(relation, equations, single)
    return replace(
        fit,
        problem=Problem(objective, design),
        params=spread @ fit.params,
        root=spread @ fit.root,
        triangle=torch.nn.functional.pad(fit.triangle @ relation, (0, 0, 0, len(spread) - spread.shape[1])),
    )


def _fit_as_it_is(objective: Objective, design: Design, bread: Bread, start: Tensor | None) -> Fit:
    """Fit in the columns themselves, whose Gram matrix is certified; large data start from a sample of rows."""
    problem = Problem(objective, design)
    first = _sample_start(problem) if start is None else start
    return _newton_fit(problem, first, bread, design, start is not None)


def _fit_turned(
    objective: Objective,
    design: Design,
    bread: Bread,
    start: Tensor | None,
    orthonormal: Design,
    its_objective: Objective,
    triangles: tuple[Tensor, ...],
) -> Fit:
    """Fit in orthonormal columns, those of each equation times the inverse of its (k_j, k_j) triangle, and turn back."""
    right: Tensor = torch.block_diag(*triangles)  # type: ignore[no-untyped-call]
    back: Tensor = torch.block_diag(*map(inverse_triangle, triangles))  # type: ignore[no-untyped-call]
    turned = Problem(its_objective, orthonormal, back=back)
    first = first_params(turned) if start is None else right @ start
    found = _newton_fit(turned, first, bread, design, start is not None)
    return replace(
        found,
        problem=Problem(objective, design),
        params=back @ found.params,
        root=back @ found.root,
        triangle=found.triangle @ right,
        well_conditioned=False,
    )


def _triangles(objective: LinearIndices, design: Design) -> tuple[Design, LinearIndices, tuple[Tensor, ...]]:
    """Return orthonormal columns of each index, side by side, the loss in terms of these, and the triangles that turn them back."""
    triangles: list[Tensor] = []
    matrices: list[Tensor] = []
    places: list[tuple[int, ...]] = []
    begin = 0
    for equation, place in zip(objective.equations, objective.places(design.width), strict=True):
        if equation.constant:
            triangles.append(torch.ones(1, 1, dtype=torch.float64, device=design.device))
            places.append(())
            continue
        own = design.select(place)
        kept, triangle = column_rank(own)
        if len(kept) < own.width:
            lost = [name for i, name in enumerate(own.names) if i not in kept]
            which = f"the equation {equation.name}" if equation.name else "the main equation"
            raise EstimationError(
                f"{listed(lost)} {'depends' if len(lost) == 1 else 'depend'} linearly on the other columns of {which}; leave such columns out, which "
                "rank= does only where all equations have the same."
            )
        triangle = torch.eye(own.width).to(design.device, torch.float64) if triangle is None else triangle
        matrix = triangle.new_zeros(design.width, own.width)
        matrix[list(place)] = inverse_triangle(triangle)
        triangles.append(triangle)
        matrices.append(matrix)
        places.append(tuple(range(begin, begin + own.width)))
        begin += own.width
    names = tuple(design.names[column] for place in objective.places(design.width) for column in place)
    orthonormal = design.turned(torch.cat(matrices, 1), names)
    return orthonormal, objective.relocated(tuple(places)), tuple(triangles)


def _newton_fit(problem: Problem, start: Tensor, bread: Bread, given: Design, own_start: bool) -> Fit:
    path = newton(problem, start, cheap=True)
    check_converged(problem, path)
    if own_start:
        _check_better_than_constant(problem, float(path.local.loss))
    return fit_of(problem, path, bread, "newton", given, tuple(range(given.width)))


def _sample_start(problem: Problem) -> Tensor:
    """Return the optimum of a sample of rows, where there are so many that it saves steps."""
    part = _every_row_of_many(problem)
    if part is None:
        return first_params(problem)
    return _optimum_or(part, first_params(part if problem.objective.indices is None else problem))


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
    size = (
        _SAMPLE_ROWS if problem.objective.indices is not None else min(max(design.rows // _SHARE, _SAMPLE_ROWS), _MOST)
    )
    every = design.rows // max(size, _ROWS_OF_COLUMN * design.width)
    return None if every < 4 else Problem(problem.objective, design.every(every))


def _optimum_or(part: Problem, first: Tensor) -> Tensor:
    """Return the optimum of a sample, or where that is looked for from, if there is none."""
    try:
        path = newton(part, first, cheap=True)
    except EstimationError:  # a rare category may separate the sample and not the data
        return first
    return path.local.params if path.converged and bool(torch.isfinite(path.local.params).all()) else first


def first_params(problem: Problem) -> Tensor:
    """Return zeros, or one step of weighted least squares from an index near each target, whichever has the lower loss.

    The step goes along with the units of y, of weights, offsets and exposures, from which zeros may be too far. Of a loss that is not convex
    there are several such steps, one of them to the index of the mean, so that no optimum is found that is worse than a constant.

    References
    ----------
    McCullagh and Nelder (1989), Generalized Linear Models, section 2.5.
    """
    objective, design = problem.objective, problem.sample
    assert isinstance(design, Design)
    if objective.indices is not None:
        return objective.indices.first(design, lambda one, rows: fit_index(one, rows, Bread.OBSERVED, "pinv").params)
    zero = torch.zeros(design.width, dtype=torch.float64, device=design.device)
    loss = objective.one_index
    if loss is None:
        return zero
    found = (float(problem.loss(zero)), zero)
    for share in _SHARES:
        found, finite = _nearer_of(problem, found, share, Bread.OBSERVED if loss.convex else Bread.EXPECTED)
        if finite and loss.convex:
            break
    return found[1]


def _nearer_of(
    problem: Problem, found: tuple[float, Tensor], share: float, bread: Bread
) -> tuple[tuple[float, Tensor], bool]:
    """Return the lower loss, and its (k,) parameters, of those found and a step of least squares, and whether that has a loss."""
    design = problem.sample
    assert isinstance(design, Design)
    mean, zero = design.mean_of_endog, torch.zeros_like(found[1])
    information, moments = problem.total(partial(_first_step, mean, share, bread), Point(zero, zero[:0]))
    if not are_finite(information, moments):
        return found, False
    step = newton_step(Local(zero, mean, -moments, information))
    near = float(problem.loss(step)) if are_finite(step) else math.nan
    if not math.isfinite(near):
        return found, False
    return (found if near > found[0] else (near, step)), True


def _first_step(mean: Tensor, share: float, bread: Bread, rows: Rows) -> tuple[Tensor, Tensor]:
    return index_rows(rows).first_step(mean, share, bread)


def _check_better_than_constant(problem: Problem, loss: float) -> None:
    """Refuse an optimum that is found from a start of one's own, and has a higher loss than the index of the mean."""
    index = problem.objective.one_index
    if index is None or index.convex:
        return
    zero = torch.zeros(problem.sample.width, dtype=torch.float64, device=problem.sample.device)
    (lowest, _), _ = _nearer_of(problem, (loss, zero), 0.0, Bread.EXPECTED)
    if lowest < loss - 1e-9 * abs(loss):
        raise EstimationError(
            f"From start_params the solver comes to an optimum that fits worse than the mean of the dependent variable: a summed loss of {loss:.6g}, "
            f"and {lowest:.6g} of that; leave start_params out, so that it starts from the data."
        )
