"""Weighted sums over the rows of a fit: of their contributions to the information, and of their scores."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from betahat.calculus.autodiff import hessian_matrix, stacked_gradients
from betahat.calculus.rows import Bread, Point, Rows, root_of_counts, rows_of, times
from betahat.data.engine import Block, fold
from betahat.data.products import gram
from betahat.data.threads import in_order
from betahat.errors import EstimationError
from betahat.fits.fit import Fit
from betahat.fits.remembered import of_fit
from betahat.resampling.weights import RowWeights

# The largest table of products of rows with themselves, in numbers.
_TABLE = 2**24
# Up to this many parameters, the products of a row with itself are a table; with more, they are computed for each replicate.
WIDE = 64
# A pivot of I + noise below this is a direction that a replicate has lost.
_LOST = 1e-6
# The size of a block of products, in numbers, which fits into the cache of a CPU.
_PIECE = 2**18


@dataclass(frozen=True, eq=False)
class Moments:
    """Sums over the rows of each replicate, at the estimate of the sample."""

    information: Tensor | None  # (R, r, r) in Z's coordinates, where it is known
    scores: Tensor  # (R, r) in Z's coordinates
    squares: Tensor | None = None  # (R, k) of the scores, if the information does not show that a column is lost
    products: Tensor | None = None  # (R, r, r) of the scores, which show that a combination is lost
    often: Tensor | None = None  # (R,) the sum of the weights over the number of rows; None is one


@dataclass(frozen=True, eq=False)
class SharedMoments:
    """What all replicates share."""

    rest: Tensor | None  # (r, r) the part of the sample's information that is not a sum over rows, in Z's coordinates
    penalty: PenaltyShare | None
    factor: Tensor | None  # (r, r) F with F'F the inverse of the products of the sample's scores, where these have one


@dataclass(frozen=True, eq=False)
class PenaltyShare:
    """The contribution of a penalty: its (r, r) curvature and (r,) slope at the estimate, in Z's coordinates."""

    information: Tensor
    slope: Tensor


def exact(fit: Fit) -> bool:
    """Tell whether a single step is the refit."""
    return fit.objective.least_squares and fit.problem.penalty is None


def point_of(fit: Fit) -> Point:
    """Return the point at which rows are evaluated, with second derivatives whatever the bread."""
    return replace(fit.point, bread=Bread.OBSERVED) if closed(fit) and fit.bread_kind is Bread.OPG else fit.point


def packed(fit: Fit) -> bool:
    """Tell whether each replicate has its own information: each row contributes to it, with not too many numbers."""
    return fit.rank <= WIDE and (closed(fit) or _has_shares(fit))


def closed(fit: Fit) -> bool:
    """Tell whether scores and information are sums over rows that have closed forms."""
    return fit.objective.closed_form and fit.objective.separable


@of_fit
def _has_shares(fit: Fit) -> bool:
    """Tell whether a row's contribution to the information, or its Gauss-Newton approximation, is a square."""
    if fit.objective.output_loss is None:
        return False
    try:
        for rows in fit.each(lambda rows: rows.hat_rows[:, :, 0]):
            if not bool(torch.isfinite(rows).all()):
                return False
    except EstimationError:
        return False
    return True


def _widths(fit: Fit) -> list[int]:
    """Return how many numbers of a row are for the information, the scores, their squares and their products."""
    triangle, own = fit.rank * (fit.rank + 1) // 2, not closed(fit)
    return [triangle * packed(fit), fit.rank, len(fit.params) * own, triangle * (own and fit.rank <= WIDE)]


def width_of_products(fit: Fit) -> int:
    """Return p, how many numbers of a row are summed."""
    return sum(_widths(fit))


@dataclass(frozen=True)
class RowProducts:
    """What is summed over rows, (b, p), without counts: the upper triangle of the information, the scores, their squares and products.

    Attributes
    ----------
    rank : int
        r.
    packed, closed : bool
        As the functions of the fit say.
    """

    rank: int
    packed: bool
    closed: bool

    def __call__(self, rows: Rows) -> Tensor:
        """Put them side by side."""
        turned = rows.influence()
        upper = torch.triu_indices(self.rank, self.rank, device=turned.device)
        parts = [turned]
        if self.packed:
            parts = [rows.shares(upper), turned]
        if not self.closed:
            parts.append(rows.scores().square())
            if self.rank <= WIDE:
                parts.append(turned[:, upper[0]] * turned[:, upper[1]])
        return torch.cat(parts, 1)


def row_products(fit: Fit) -> RowProducts:
    """Return what is summed over the rows of a fit."""
    return RowProducts(fit.rank, packed(fit), closed(fit))


def unit_table(fit: Fit, weights: RowWeights) -> Tensor | None:
    """Return (units, p) the sums of products for each cluster, or the products of each row, if they fit into memory."""
    codes = weights.codes
    count = fit.sample.rows if codes is None else weights.scheme.units
    if count * width_of_products(fit) > _TABLE:
        return None
    each = fit.problem.each(row_products(fit), point_of(fit))
    if codes is None:
        return torch.cat(list(each))
    start, table = 0, fit.params.new_zeros(count, width_of_products(fit))
    for values in each:
        stop = start + len(values)
        table.index_add_(0, codes[start:stop], times(values, _slice(weights.counts, start, stop)))
        start = stop
    return table


def streamed(fit: Fit, drawn: Tensor) -> Tensor:
    """Return (R, p) the sums of products under (R, n) weights, for rows whose table does not fit into memory."""
    point, sample, made = point_of(fit), fit.sample, row_products(fit)
    step, engine = max(_PIECE // width_of_products(fit), 1), fit.problem.engine

    def products(block: Block) -> tuple[Tensor]:
        sums = fit.params.new_zeros(len(drawn), width_of_products(fit))
        for piece in engine.pieces(block, step):
            values = made(rows_of(fit.objective, piece, point))
            sums.addmm_(drawn[:, piece.start : piece.start + len(values)].to(torch.float64), values)
        return (sums,)

    (sums,) = fold(sample.source, products, engine)
    return sums


def unpacked(fit: Fit, sums: Tensor) -> Moments:
    """Read (R, p) sums of `RowProducts`."""
    triangle, scores, squares, products = torch.split(sums, _widths(fit), 1)
    return Moments(
        _square(triangle, fit.rank), scores, squares if squares.shape[1] else None, _square(products, fit.rank)
    )


def _square(triangle: Tensor, rank: int) -> Tensor | None:
    """Return (R, r, r) symmetric matrices from their upper triangles, or None if these are empty."""
    if not triangle.shape[1]:
        return None
    upper = torch.triu_indices(rank, rank, device=triangle.device)
    square = triangle.new_empty(len(triangle), rank, rank)
    square[:, upper[0], upper[1]] = triangle
    square[:, upper[1], upper[0]] = triangle
    return square


def information_grams(fit: Fit, drawn: Tensor) -> Tensor:
    """Return (R, r, r) the information under (R, n) weights, for so many columns that no table of products is made."""
    sums, start = fit.params.new_zeros(len(drawn), fit.rank, fit.rank), 0
    for hats in fit.problem.each(lambda rows: rows.hat_rows, point_of(fit)):
        stop = start + len(hats)
        weighted = in_order(partial(_weighted_gram, hats), drawn[:, start:stop].to(torch.float64))
        for i, products in enumerate(weighted):
            sums[i] += products
        start = stop
    return sums


def _weighted_gram(hats: Tensor, weights: Tensor) -> Tensor:
    """Return (r, r) the sum of w h h' over (b, m, r) rows."""
    return (hats * weights[:, None, None]).flatten(0, 1).mT @ hats.flatten(0, 1)


def score_factor(fit: Fit) -> Tensor | None:
    """Return (r, r) F, which makes the products of the sample's scores sum to the identity, or None if the scores are collinear."""
    if closed(fit) or fit.rank > WIDE:
        return None
    products = fit.sum_rows(_sum_of_products)
    lower, failed = torch.linalg.cholesky_ex(products)
    if bool(failed) or not bool(regular(lower[None])):
        return None
    inverse: Tensor = torch.linalg.solve_triangular(lower, torch.eye(fit.rank).to(lower), upper=False)
    return inverse


def _sum_of_products(rows: Rows) -> Tensor:
    return gram(rows.influence(), root_of_counts(rows.counts))


def plain_information(fit: Fit) -> Tensor:
    """Return (r, r) Z'AZ of the sample's second derivatives A without a penalty, which is the identity if Z is made of them."""
    eye = torch.eye(fit.rank).to(fit.root)
    if fit.bread_kind is Bread.OBSERVED or (fit.bread_kind is Bread.EXPECTED and closed(fit)):
        share = penalty_of(fit)
        return eye if share is None else eye - share.information
    return _sample_information(fit)


def unshared_information(fit: Fit) -> Tensor | None:
    """Return (r, r) the part of the sample's information that is not a sum over rows, or None if there is none."""
    if closed(fit):
        return None
    if not packed(fit):
        return plain_information(fit)
    shares = fit.sum_rows(_sum_of_shares)
    return plain_information(fit) - shares


def _sum_of_shares(rows: Rows) -> Tensor:
    hats = rows.hat_rows
    return gram(
        hats.flatten(0, 1),
        root_of_counts(None if rows.counts is None else rows.counts.repeat_interleave(hats.shape[1])),
    )


@of_fit
def _sample_information(fit: Fit) -> Tensor:
    return fit.root.mT @ replace(fit.problem, penalty=None).evaluate(fit.params, Bread.OBSERVED).information @ fit.root


def penalty_of(fit: Fit) -> PenaltyShare | None:
    """Return what a penalty contributes at the estimate, or None."""
    function = fit.problem.penalty
    if function is None:
        return None
    curvature = fit.root.mT @ hessian_matrix(function, fit.params) @ fit.root
    return PenaltyShare(curvature, penalty_slopes(fit, fit.params[None])[0])


def penalty_slopes(fit: Fit, params: Tensor) -> Tensor:
    """Return (R, r) the slopes of the penalty at (R, k) parameters, in Z's coordinates."""
    function = fit.problem.penalty
    assert function is not None
    return stacked_gradients(lambda theta, _: function(theta), params, params) @ fit.root


def often_of(fit: Fit, drawn: Tensor) -> Tensor:
    """Return (R,) the sum of (R, n) weights over the number of rows."""
    return drawn.sum(1).to(torch.float64) / float(fit.nobs)


def _slice(values: Tensor | None, start: int, stop: int) -> Tensor | None:
    return None if values is None else values[start:stop]


def regular(factors: Tensor) -> Tensor:
    """Tell which of (R, r, r) triangular factors have lost no direction: their pivots are of similar size."""
    pivots = factors.diagonal(dim1=1, dim2=2)
    return pivots.amin(1) > _LOST * pivots.amax(1)
