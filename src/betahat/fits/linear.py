"""Least squares: a design and what becomes of dependent columns, to a `Fit`."""

from __future__ import annotations

from betahat.calculus.problem import Problem
from betahat.data.design import Design
from betahat.fits.fit import Fit
from betahat.objectives.gaussian import Gaussian
from betahat.solvers.least_squares import Rank, RowSum, least_squares


def fit_least_squares(design: Design, rank: Rank, also: tuple[RowSum, ...] = ()) -> Fit:
    """Fit a linear model; `rank` and `also` are those of `least_squares`."""
    solution = least_squares(design, rank, also)
    dropped = len(solution.params) < design.width
    return Fit(
        problem=Problem(Gaussian(), design.select(solution.kept) if dropped else design),
        params=solution.params,
        root=solution.root,
        triangle=solution.triangle,
        loss=solution.loss,
        route=solution.route,
        well_conditioned=solution.well_conditioned,
        given=design,
        kept=solution.kept,
        sums=solution.sums,
        idle=solution.idle,
    )
