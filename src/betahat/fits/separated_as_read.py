"""Whether regressors separate rows that are read from elsewhere, by passes over them.

Along a direction that separates, c, a converged fit has next to no curvature. Where there is one such direction, a pass tells whether z = Xc has the right
sign in all rows whose loss falls towards one side, and is zero in the others, which is what separates; where there are several, some combination of
them may, and that is not looked for.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from betahat.calculus.index import index_rows
from betahat.calculus.rows import Point, Rows, times
from betahat.data.design import Design, has_weight
from betahat.data.engine import Block, fold, scan
from betahat.data.products import weighted_gram
from betahat.errors import EstimationError, counted
from betahat.fits.fit import Fit
from betahat.objectives.base import LinearIndex
from betahat.solvers.least_squares import column_rank
from betahat.solvers.newton import parameters_along
from betahat.solvers.triangles import inverse_triangle

# A value of a direction that is below this share of the largest is zero.
_ZERO = 1e-6


def sides_of(objective: LinearIndex, y: Tensor) -> Tensor:
    """Return (b,) towards which side the loss of a row falls forever where no index is the best, 0 where to none."""
    signs = torch.zeros_like(y)
    for bound in objective.support.bounds:
        at = y.new_full((1,), bound)
        side = float(objective.residual(torch.zeros_like(at), at).sign())
        signs = torch.where(y == bound, side, signs)
    return signs


def check_separated_as_read(fit: Fit, usual: float) -> None:
    """Refuse a converged fit of rows that are read whose curvature is lost, below `usual`, along directions that separate rows, or may."""
    objective, design = fit.objective.one_index, fit.sample
    assert objective is not None
    assert isinstance(design, Design)
    directions = _lost_directions(fit, design, usual)
    if not directions.shape[1]:
        return
    names = parameters_along(fit.problem, directions)
    if directions.shape[1] > 1:
        raise EstimationError(
            f"The loss has next to no curvature along {names}: rows are predicted perfectly there, or nearly so. Whether there is a finite estimate takes "
            "all rows at once, and these are read from elsewhere; leave such columns out, merge categories, or fit fewer rows in memory, which says which they are."
        )
    rows, along = design.source.only("exog", "endog", "weights", "counts"), directions[:, 0]
    size = _ZERO * max(float(found) for found in scan(rows, _Largest(along), design.engine))
    separated, wrong_up, wrong_down = (int(n) for n in fold(rows, _Sides(objective, along, size), design.engine))
    if separated and not (wrong_up and wrong_down):
        raise EstimationError(
            f"The loss falls forever along {names} in {counted(separated, 'row')} of {design.rows:,}, so there is no finite estimate: {objective.separation}"
        )


def _lost_directions(fit: Fit, design: Design, usual: float) -> Tensor:
    """Return (k, d) directions, of length one in the index, along which there is no curvature."""
    kept, triangle = column_rank(design)
    if triangle is None:
        triangle = torch.linalg.cholesky(design.moments[0]).mT
    own = triangle[:, list(kept)]
    turned = torch.zeros(design.width, len(kept)).to(own)
    turned[list(kept)] = inverse_triangle(torch.linalg.qr(own, mode="r")[1])
    (curvature,) = fit.problem.total(_Curvature(turned), Point(fit.params, fit.params[:0]))
    values, vectors = torch.linalg.eigh(curvature)
    lost: Tensor = turned @ vectors[:, values <= usual]
    return lost


@dataclass(frozen=True, eq=False)
class _Curvature:
    """The curvature of a block along the columns of a (k, r) matrix."""

    turned: Tensor

    def __call__(self, rows: Rows) -> tuple[Tensor]:
        own = index_rows(rows)
        curvature = own.objective.curvature(own.index, own.y)
        curvature = torch.ones_like(own.index) if curvature is None else curvature
        return (weighted_gram(own.x @ self.turned, times(curvature, own.weights, own.counts)),)


@dataclass(frozen=True, eq=False)
class _Largest:
    """The largest absolute value of a (k,) direction in a block."""

    along: Tensor

    def __call__(self, block: Block) -> Tensor:
        return (block["exog"] @ self.along).abs().amax()


@dataclass(frozen=True, eq=False)
class _Sides:
    """How many rows of a block a (k,) direction moves, and how many of them in the wrong way, if it is up, and if it is down."""

    objective: LinearIndex
    along: Tensor
    size: float

    def __call__(self, block: Block) -> tuple[Tensor, Tensor, Tensor]:
        z, sides = block["exog"] @ self.along, sides_of(self.objective, block["endog"])
        moved = (z.abs() > self.size) & has_weight(block)
        return moved.sum(), (moved & (z * sides <= 0)).sum(), (moved & (z * sides >= 0)).sum()
