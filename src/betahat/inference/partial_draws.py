"""A coefficient of least squares under many values of its own regressor, whose other columns stay: products of matrices, by Frisch, Waugh and Lovell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import singledispatch
from typing import Any

import torch
from torch import Tensor

from betahat.covariance.classical import Classical
from betahat.covariance.cluster import Cluster
from betahat.covariance.hc import HC0, HC1, HC2, HC3
from betahat.covariance.partitions import groups_of
from betahat.fits.absorbed import total_weights
from betahat.fits.fit import Fit
from betahat.solvers.projections import Projection, projection_on

# What other columns leave of a regressor is rounding error below this share of its squares.
_COLLINEAR = 1e-12
# Directions that are shorter than this share of the longest are rounding errors of columns of equal length.
_DEPENDENT = 1e-10


@dataclass(frozen=True, eq=False)
class Block:
    """Many regressors d, one in each column, after the other columns were taken off, in units in which rows have equal weights.

    Attributes
    ----------
    left : Tensor
        (n, B) what is left of them.
    squares : Tensor
        (B,) their squares.
    residuals : Tensor
        (n, B) of the regressions on them.
    leverage : Tensor
        (n,) that of the other columns.
    """

    left: Tensor
    squares: Tensor
    residuals: Tensor
    leverage: Tensor


# (n, B) regressors -> (B,) variances of their coefficients, up to a factor that is the same for all.
Variance = Callable[[Block], Tensor]


@dataclass(frozen=True, eq=False)
class Partial:
    """The coefficient of one column of least squares as a function of that column.

    Attributes
    ----------
    outcome : Tensor
        (n,) y, less the other columns and the absorbed effects, in units of equal weights.
    basis : Tensor
        (n, q) an orthonormal basis of the other columns.
    root : Tensor or None
        (n,) the roots of the weights.
    projection : Projection or None
        What takes absorbed effects off.
    variance : callable or None
        The variance, up to a factor; None where only coefficients are wanted.
    """

    outcome: Tensor
    basis: Tensor
    root: Tensor | None
    projection: Projection | None
    variance: Variance | None

    def statistics(self, columns: Tensor) -> Tensor:
        """Return (B,) coefficients of (n, B) columns, or coefficients over their errors up to a factor; NaN where the others explain a column."""
        found = columns if self.projection is None else self.projection.residuals(columns)
        found = found if self.root is None else found * self.root[:, None]
        whole = columns.square().sum(0) if self.root is None else (columns * self.root[:, None]).square().sum(0)
        left = found - self.basis @ (self.basis.mT @ found)
        squares = left.square().sum(0)
        squares = torch.where(squares > _COLLINEAR * whole, squares, torch.nan)
        coefficients = (self.outcome @ left) / squares
        if self.variance is None:
            return coefficients
        residuals = self.outcome[:, None] - coefficients * left
        leverage = self.basis.square().sum(1)
        return coefficients / self.variance(Block(left, squares, residuals, leverage)).sqrt()


def partial_out(fit: Fit, column: int, variance: Variance | None) -> Partial:
    """Take all columns but one off the dependent variable of a fit by least squares."""
    design = fit.design
    columns, outcome = design.exog.to(torch.float64), design.endog.to(torch.float64)
    root = None if design.weights is None else design.weights.to(torch.float64).sqrt()
    projection = None
    if fit.absorbed is not None:
        projection = projection_on(fit.raw.effects, total_weights(fit.raw))
    others = torch.cat([columns[:, :column], columns[:, column + 1 :]], 1)
    others, outcome = (others, outcome) if root is None else (others * root[:, None], outcome * root)
    basis = _basis(others)
    outcome = outcome - basis @ (basis.mT @ outcome)
    outcome = outcome - basis @ (basis.mT @ outcome)  # once more, where they explain most of it
    return Partial(outcome, basis, root, projection, variance)


@singledispatch
def variance_of(estimator: Any, fit: Fit) -> Variance | None:
    """Return the variance that an estimator of covariances gives a coefficient, up to a factor; None where it has no such form."""
    return None


@variance_of.register
def _(estimator: Classical, fit: Fit) -> Variance | None:
    return lambda block: block.residuals.square().sum(0) / block.squares


@variance_of.register(HC0)
@variance_of.register(HC1)
def _(estimator: Any, fit: Fit) -> Variance | None:
    return lambda block: (block.left * block.residuals).square().sum(0) / block.squares.square()


@variance_of.register
def _(estimator: HC2, fit: Fit) -> Variance | None:
    return None if fit.absorbed is not None else _by_leverage(1)


@variance_of.register
def _(estimator: HC3, fit: Fit) -> Variance | None:
    return None if fit.absorbed is not None else _by_leverage(2)


@variance_of.register
def _(estimator: Cluster, fit: Fit) -> Variance | None:
    ways = groups_of(fit, estimator.groups, "groups")
    if len(ways) > 1 or estimator.kind not in ("CR0", "CR1", "CR1p", "CR1S"):
        return None
    (way,) = ways
    codes = way.codes

    def variance(block: Block) -> Tensor:
        scores = block.left * block.residuals
        sums = scores.new_zeros(way.count, scores.shape[1]).index_add_(0, codes, scores)
        return sums.square().sum(0) / block.squares.square()

    return variance


def _by_leverage(power: int) -> Variance:
    def variance(block: Block) -> Tensor:
        slack = 1.0 - block.leverage[:, None] - block.left.square() / block.squares
        scores: Tensor = (block.left * block.residuals).square()
        for _ in range(power):
            scores = scores / slack
        return scores.sum(0) / block.squares.square()

    return variance


def _basis(columns: Tensor) -> Tensor:
    """Return (n, q) an orthonormal basis of the span of (n, k) columns."""
    lengths = torch.linalg.vector_norm(columns, dim=0)
    columns = columns[:, lengths > 0] / lengths[lengths > 0]
    left, values, _ = torch.linalg.svd(columns, full_matrices=False)
    basis: Tensor = left[:, values > _DEPENDENT * values[:1]]
    return basis
