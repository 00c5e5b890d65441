"""Which rows of a model of one linear index are separated, and what is said where they cannot be left out."""

from __future__ import annotations

import math
from typing import NoReturn

import torch
from torch import Tensor

from betahat.calculus.index import index_rows
from betahat.calculus.rows import Point, Rows, times
from betahat.data.design import Design
from betahat.data.products import weighted_gram
from betahat.errors import EstimationError, counted, listed
from betahat.fits.absorbed import total_weights, varying, without_effects
from betahat.fits.fit import Fit
from betahat.fits.separated_as_read import check_separated_as_read, sides_of
from betahat.objectives.base import LinearIndex
from betahat.solvers.least_squares import column_rank
from betahat.solvers.projections import projection_on
from betahat.solvers.separating import taken
from betahat.solvers.separation import separated_rows

# Multipliers are above zero by ten times what may be rounding; curvature in a direction is lost below a hundred-millionth of the usual.
_MARGIN, _CURVED = 10.0, 1e-8
# A row in which y next to does not vary has this share of the mean variance, far more than an optimum leaves one that is separated.
_LITTLE = 1e-4
# Newton's method takes this squared distance in standard errors for none.
_ZERO = 1e-24


def falling_sides(objective: LinearIndex, design: Design) -> Tensor | None:
    """Return (n,) towards which side the loss of a row falls forever, 0 where to none; None where to none in any row."""
    if not objective.support.bounds or objective.domain is not None:
        return None
    signs = sides_of(objective, design.endog.to(torch.float64))
    return signs if bool(signs.any()) else None


def separated(design: Design, signs: Tensor) -> Tensor | None:
    """Return (n,) which rows are separated; None where there are none. Regressors may not separate a yes from a no, as without effects."""
    weights = total_weights(design)
    used = torch.arange(design.rows, device=signs.device) if weights is None else weights.nonzero().flatten()
    effects = [taken(effect, used) for effect in design.effects]
    both = bool((signs[used] > 0).any() & (signs[used] < 0).any())
    exog = design.exog[used]
    found = separated_rows(signs[used], exog[:, :0] if both else exog, effects)
    if both and not bool(found.any()):
        found = separated_rows(signs[used], exog, effects)
        if bool(found.any()):
            _refuse_separated(design, used[found])
    if not bool(found.any()):
        return None
    out = torch.zeros(design.rows, dtype=torch.bool, device=signs.device)
    out[used[found]] = True
    return out


def check_separated(fit: Fit) -> None:
    """Refuse a converged fit without effects whose regressors separate rows, where steps came to a gradient of zero on the way to infinity."""
    objective, design = fit.objective.one_index, fit.given
    if objective is None or not isinstance(design, Design) or (design.small and _varies_everywhere(objective, fit)):
        return
    usual = _CURVED * _usual_curvature(objective, design)
    if not objective.support.bounds or (not design.small and _least_curvature(fit, design) > usual):
        return  # large data have their products of columns at hand
    if objective.domain is None and not design.small and design.source.stream is not None:
        check_separated_as_read(fit, usual)
        return
    signs = falling_sides(objective, design)
    if signs is None:
        return
    weights = total_weights(design)
    found = fit.problem.gather(_residuals_and_curvatures, Point(fit.params, fit.params[:0]))
    pull, curvature = (times(column, weights) for column in found.unbind(1))
    at_bound = signs != 0 if weights is None else (signs != 0) & (weights > 0)
    smallest = float(torch.where(at_bound, pull.abs(), math.inf).min())
    # Residuals are the multipliers by which no direction separates, if they are larger than what they leave of X'r in orthonormal columns.
    gradient = (float(curvature.abs().max()) * _decrement(fit)) ** 0.5
    if smallest > _MARGIN * (gradient + torch.finfo(torch.float64).eps * float(torch.linalg.vector_norm(pull))):
        return
    exog = design.exog.to(torch.float64)
    held = exog if weights is None else exog[weights > 0]
    basis = torch.linalg.qr(held / torch.linalg.vector_norm(held, dim=0).clamp_min(torch.finfo(torch.float64).tiny))[0]
    own = curvature if weights is None else curvature[weights > 0]
    # A direction that separates has no more curvature than rows have on their way to infinity.
    if float(torch.linalg.eigvalsh(weighted_gram(basis, own))[0]) > usual:
        return
    rows = torch.arange(design.rows, device=exog.device) if weights is None else weights.nonzero().flatten()
    out = rows[separated_rows(signs[rows], exog[rows], ())]
    if len(out):
        raise EstimationError(
            f"The loss falls forever along {listed(_without_row(design, out))} in {counted(len(out), 'row')} of {design.rows:,}, so there is no finite estimate: "
            f"{objective.separation}"
        )


def _varies_everywhere(objective: LinearIndex, fit: Fit) -> bool:
    """Tell whether y may vary in every row.

    Along a direction that separates, z = Xc, a decrement below d leaves of the residuals r, all of one sign, sum r z < (d sum r z z)^(1/2), so that the row
    of the largest z has a residual below d, and y next to no variance.
    """
    if not objective.support.bounds:
        return True
    design = fit.design
    index = design.exog.to(torch.float64) @ fit.params
    variance = objective.variance(index if design.offset is None else index + design.offset)
    return variance is None or bool(variance.min() > _LITTLE * variance.mean())


def _residuals_and_curvatures(rows: Rows) -> Tensor:
    """Return (b, 2) the derivatives of the plain loss in the index."""
    own = index_rows(rows)
    curvature = own.objective.curvature(own.index, own.y)
    residual = own.objective.residual(own.index, own.y)
    return torch.stack([residual, torch.ones_like(residual) if curvature is None else curvature], 1)


def _usual_curvature(objective: LinearIndex, design: Design) -> float:
    """Return the expected curvature of a row at the mean of y."""
    mean = design.mean_of_endog
    found = objective.expected_curvature(objective.start(mean, mean).reshape(1))
    return 1.0 if found is None else float(found[0])


def _least_curvature(fit: Fit, design: Design) -> float:
    """Return the least ratio of c'A c to c'X'W X c over directions c, zero where X'W X is singular."""
    products, _ = design.moments
    scale = products.diagonal().sqrt()
    lower, failed = torch.linalg.cholesky_ex(products / scale / scale[:, None])
    if bool(failed) or fit.triangle.shape != products.shape:
        return 0.0
    turned = torch.linalg.solve_triangular(lower, (fit.triangle / scale).mT, upper=False)
    return float(torch.linalg.svdvals(turned)[-1]) ** 2


def _decrement(fit: Fit) -> float:
    """Return g'A^-1 g in units of the loss, at least what a solver takes for zero."""
    if fit.path is None:
        return _ZERO
    return max(fit.path.decrement * fit.problem.noise(fit.path.local), _ZERO)


def _without_row(design: Design, rows: Tensor) -> tuple[str, ...]:
    """Return the names of the columns that nothing is left of without the rows at (m,) places: all if no other row is left."""
    held = torch.ones(design.rows, dtype=torch.bool, device=rows.device)
    held[rows] = False
    if not bool(held.any()):
        return design.names
    own = design.take(held.nonzero().flatten())
    if not own.effects:
        kept = column_rank(own)[0]
    else:
        left = projection_on(own.effects, None).residuals(own.exog)
        kept = varying(own, left)
        if kept:
            made = without_effects(own, {"exog": left[:, list(kept)]}, kept)
            kept = tuple(kept[i] for i in column_rank(made)[0])
    return tuple(name for i, name in enumerate(design.names) if i not in kept) or design.names


def _refuse_separated(design: Design, rows: Tensor) -> NoReturn:
    """Say that regressors separate rows: those that nothing is left of in the other rows."""
    names = _without_row(design, rows)
    raise EstimationError(
        f"The loss falls forever along {listed(names)} beside the absorbed effects, so there is no finite estimate: {counted(len(rows), 'row')} "
        f"{'is' if len(rows) == 1 else 'are'} predicted perfectly. Leave such columns or rows out, or merge categories."
    )
