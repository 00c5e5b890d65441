"""What clusters' adjustments need of a fit's rows: CR2 and CR3 of any model."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from betahat.calculus.index import IndexRows, index_rows
from betahat.calculus.rows import Rows, root_of_counts, times
from betahat.covariance.adjustments import (
    FIXED,
    Adjustment,
    full_of_pairs,
    fully_adjusted,
    half_adjusted,
    half_of_pair_products,
    half_of_pairs,
    half_of_rows,
    steps_without,
)
from betahat.covariance.cr2_in_turn import cr2_in_turn
from betahat.covariance.satterthwaite import Adjusted
from betahat.data.batches import batches
from betahat.data.groups import Groups
from betahat.data.products import gram
from betahat.data.progress import progress
from betahat.data.threads import in_order
from betahat.fits.fit import Fit
from betahat.fits.influence_sums import influence_sums
from betahat.fits.nested import beside_dummies, beside_own_dummies
from betahat.fits.remembered import of_fit
from betahat.solvers.memory import check_numbers_fit

# A direction that has a smaller share of the regressors is one of dummies.
_PART = 1e-6
# Clusters are taken together while their rows have so many numbers.
_NUMBERS = 2**17


@of_fit
def cr2(fit: Fit, groups: Groups, target: str) -> Adjusted:
    """Return CR2 of a fit of any model whose rows have leverage.

    The errors' covariance of weighted least squares is the identity or the inverse weights, by `target`; a generalized linear model has its
    variance function.
    """
    objective = fit.objective.one_index
    varies = objective is not None and objective.variance(fit.params[:1]) is not None
    if fit.absorbed is not None and (varies or _weighted(fit)) and not _has_one_variance(fit, target):
        apart = beside_own_dummies(fit, groups)
        return _narrowed(cr2(apart.fit, groups, target), fit, apart.own)
    wide = beside_dummies(fit, groups, every=_weighted(fit))
    if wide is not fit:
        return _narrowed(cr2(wide, groups, target), fit)
    if _has_one_variance(fit, target):
        middle = _middle(fit.sum_rows(_squares))
        if fit.sample.source.stream is not None:
            return _adjusted_by_products(fit, groups, _pairs, lambda p, _: half_of_pair_products(p, middle), middle)
        return _adjusted(fit, groups, _pairs, lambda rows, _: half_of_pairs(rows, middle), middle)
    if varies or _weighted(fit):
        return _of_unequal_variances(fit, groups)
    sums = influence_sums(fit, groups)
    return _adjusted_by_products(fit, groups, _hats, lambda grams, some: half_adjusted(grams, sums[some]))


def _of_unequal_variances(fit: Fit, groups: Groups) -> Adjusted:
    """Return CR2 of rows whose errors have variances of their own, from clusters brought together, or from sums over rows that are read in turn."""
    if fit.sample.source.stream is None:
        return _adjusted(fit, groups, _whitened, lambda rows, _: half_of_rows(rows))
    middle = _checked(fit, groups, None)
    (products,) = _by_products(fit, groups, _hats_and_errors, lambda part, _: (part,))
    scores, own, reach, fixed = cr2_in_turn(fit, groups, _whitened, products)
    return Adjusted(scores, own, reach, middle, fit.root, int(fixed.sum()))


@of_fit
def cr3(fit: Fit, groups: Groups, target: str) -> Adjusted:
    """Return CR3; see `cr2`."""
    wide = beside_dummies(fit, groups, every=False)
    if wide is not fit:
        return _narrowed(cr3(wide, groups, target), fit)
    if _has_one_variance(fit, target):
        middle = _middle(fit.sum_rows(_squares))
        return _adjusted_by_products(fit, groups, _pairs, lambda products, _: full_of_pairs(products), middle)
    sums = influence_sums(fit, groups)
    return _adjusted_by_products(fit, groups, _hats, lambda grams, some: fully_adjusted(grams, sums[some]))


@dataclass(frozen=True, eq=False)
class StepsWithout:
    """The fits without each cluster.

    Attributes
    ----------
    steps : Tensor
        (G, r) from the estimate to theirs in the coordinates of Z, up to the sign.
    fixed : bool
        Whether some cluster alone fixes a direction, so that there is no such fit.
    """

    steps: Tensor
    fixed: bool


@of_fit
def steps_to_fits_without(fit: Fit, groups: Groups) -> StepsWithout:
    """Return the steps to the fits without each cluster."""
    wide = beside_dummies(fit, groups, every=False)
    if wide is not fit:
        found = steps_to_fits_without(wide, groups)
        return StepsWithout(
            found.steps[:, -fit.rank :], found.fixed and _fixes_regressors(hat_grams(wide, groups), fit.rank)
        )
    sums = influence_sums(fit, groups)
    steps, fixed = _by_products(fit, groups, _hats, lambda grams, some: steps_without(grams, sums[some]))
    return StepsWithout(steps, bool(fixed.any()))


@of_fit
def hat_grams(fit: Fit, groups: Groups) -> Tensor:
    """Return (G, r, r) the clusters' shares of the information, in the coordinates of Z."""
    check_numbers_fit(2 * groups.count * fit.rank**2, f"The leverages of {groups.count} clusters", fit.params.device)
    return _by_products(fit, groups, _hats, lambda grams, _: (grams,))[0]


def _narrowed(adjusted: Adjusted, fit: Fit, own: int = 0) -> Adjusted:
    """Return the adjustment of a fit from that of the fit beside dummies, whose last coordinates are its own.

    The first `own` coordinates are dummies of one cluster, and those of another cluster are others: what they take off the variance of a cluster's part stays with
    the cluster.
    """
    r = fit.rank
    lost = adjusted.reach[:, :own, -r:]
    return replace(
        adjusted,
        scores=adjusted.scores[:, -r:].contiguous(),
        own=adjusted.own[:, -r:, -r:] - lost.mT @ lost,
        reach=adjusted.reach[:, own:, -r:].contiguous(),
        middle=adjusted.middle[own:, own:].contiguous(),
        root=fit.root,
        fixed=0,
    )


def _fixes_regressors(grams: Tensor, rank: int) -> bool:
    """Tell whether some of (G, q + r, q + r) clusters fixes a direction of the r regressors, and not of dummies alone."""
    spectrum, vectors = torch.linalg.eigh(grams)
    parts = torch.linalg.vector_norm(vectors[:, -rank:], dim=1)
    return bool(((spectrum > 1.0 - FIXED) & (parts > _PART)).any())


def _weighted(fit: Fit) -> bool:
    return fit.objective.one_index is not None and fit.design.weighted


def _has_one_variance(fit: Fit, target: str) -> bool:
    """Tell whether weights are there, and are not to be taken for inverse variances."""
    return target == "identity" and fit.objective.dispersion.squares and _weighted(fit)


def _pairs(rows: Rows) -> Tensor:
    """Return (b, 2 r + 1) [U, W U, e] of weighted least squares, as often as they count; rows of weight zero are zero."""
    block = index_rows(rows)
    weights, often = block.weights, root_of_counts(block.counts)
    assert weights is not None
    used = weights > 0
    errors = torch.where(used, block.residual / weights, 0.0)
    plain = times(block.rotated, used.to(weights))
    return times(torch.cat([plain, times(block.rotated, weights), errors[:, None]], 1), often)


def _squares(rows: Rows) -> Tensor:
    """Return (r, r) the sum of W U'U W."""
    pairs = _pairs(rows)
    return gram(pairs[:, pairs.shape[1] // 2 : -1].contiguous())


def _whitened(rows: Rows) -> Tensor:
    """Return (b, r + 2) [U, e, f], e whitened and f the errors' variance; rows without information are zero."""
    block = index_rows(rows)
    variance, often = _variance(block), root_of_counts(block.counts)
    hats = torch.where((variance > 0)[:, None], times(block.hat_rows[:, 0], often), 0.0)
    curvature = torch.ones_like(block.residual) if block.curvature is None else block.curvature
    # a row that occurs c times has c U'U and c U'e, and its variance
    beside = torch.stack([times(block.residual * curvature.rsqrt(), often), variance], 1)
    return torch.cat([hats, torch.where(hats.any(1)[:, None], beside, 0.0)], 1)


def _hats_and_errors(rows: Rows) -> Tensor:
    """Return (b, r + 1) the first columns of `_whitened`."""
    return _whitened(rows)[:, :-1]


def _hats(rows: Rows) -> Tensor:
    """Return (b, m, r) the rows' hats, as often as they count."""
    return times(rows.hat_rows, root_of_counts(rows.counts))


def _variance(block: IndexRows) -> Tensor:
    variance = block.objective.variance(block.index)
    plain = torch.ones_like(block.residual) if variance is None else variance
    return plain if block.weights is None else plain / block.weights


def _adjusted(
    fit: Fit,
    groups: Groups,
    function: Callable[[Rows], Tensor],
    adjust: Callable[[Tensor, Tensor], Adjustment],
    middle: Tensor | None = None,
) -> Adjusted:
    """Return the adjustment of all clusters, from `adjust` of the (b, m, w) rows of some of them and their (b,) numbers."""
    middle = _checked(fit, groups, middle)
    scores, own, reach, fixed = _by_cluster(fit, groups, function, adjust)
    return Adjusted(scores, own, reach, middle, fit.root, int(fixed.sum()))


def _adjusted_by_products(
    fit: Fit,
    groups: Groups,
    function: Callable[[Rows], Tensor],
    adjust: Callable[[Tensor, Tensor], Adjustment],
    middle: Tensor | None = None,
) -> Adjusted:
    """Return the adjustment of all clusters, from `adjust` of the (b, w, w) products of rows of some of them and their (b,) numbers."""
    middle = _checked(fit, groups, middle)
    scores, own, reach, fixed = _by_products(fit, groups, function, adjust)
    return Adjusted(scores, own, reach, middle, fit.root, int(fixed.sum()))


def _checked(fit: Fit, groups: Groups, middle: Tensor | None) -> Tensor:
    """Return C, and refuse adjustments that do not fit into memory."""
    middle = -torch.eye(fit.rank).to(fit.root) if middle is None else middle
    count, width = groups.count, fit.rank * (fit.rank + len(middle))
    check_numbers_fit(count * width, f"The adjustments of {count} clusters", fit.params.device)
    return middle


def _by_products(
    fit: Fit,
    groups: Groups,
    function: Callable[[Rows], Tensor],
    adjust: Callable[[Tensor, Tensor], tuple[Tensor, ...]],
) -> tuple[Tensor, ...]:
    """Return (G, ...) what `adjust` makes of the products of the `function` of rows, cluster by cluster.

    Rows in memory are brought together, cluster by cluster; of rows that are read in turn the products themselves are summed.
    """
    if fit.sample.source.stream is None:
        return _by_cluster(fit, groups, function, lambda rows, some: adjust(rows.mT @ rows, some))
    sums = fit.sum_groups(groups.of_rows, groups.count, _Products(function))
    width = (math.isqrt(8 * sums.shape[1] + 1) - 1) // 2
    row, column = torch.triu_indices(width, width, device=sums.device)

    def of_some(some: Tensor) -> tuple[Tensor, ...]:
        products = sums.new_empty(len(some), width, width)
        products[:, row, column] = products[:, column, row] = sums[some]
        return adjust(products, some)

    numbers = torch.arange(groups.count, device=sums.device)
    parts = in_order(of_some, progress(torch.split(numbers, max(_NUMBERS // width**2, 1)), "clusters"))
    return tuple(map(torch.cat, zip(*parts, strict=True)))


@dataclass(frozen=True)
class _Products:
    """The products of the numbers of a row, (b, w (w + 1) / 2), of a function's (b, w), or of (b, m, w) added up."""

    function: Callable[[Rows], Tensor]

    def __call__(self, rows: Rows) -> Tensor:
        made = self.function(rows)
        row, column = torch.triu_indices(made.shape[-1], made.shape[-1], device=made.device)
        found = made[..., row] * made[..., column]
        return found if found.ndim == 2 else found.sum(1)


def _by_cluster(
    fit: Fit,
    groups: Groups,
    function: Callable[[Rows], Tensor],
    adjust: Callable[[Tensor, Tensor], tuple[Tensor, ...]],
) -> tuple[Tensor, ...]:
    """Return (G, ...) what `adjust` makes of the `function` of rows, cluster by cluster; zeros of clusters without rows."""
    together = batches(groups, max(_NUMBERS // fit.rank, 1))
    found: tuple[Tensor, ...] = ()
    stacked = together.stacked(fit.each_in(together.places, function))
    for some, parts in in_order(lambda part: (part[0], adjust(part[1], part[0])), stacked):
        found = found or tuple(part.new_zeros(groups.count, *part.shape[1:]) for part in parts)
        for whole, part in zip(found, parts, strict=True):
            whole[some] = part
    return found


def _middle(squares: Tensor) -> Tensor:
    """Return C = [[Q, -I], [-I, 0]]."""
    eye = torch.eye(len(squares)).to(squares)
    return torch.cat([torch.cat([squares, -eye], 1), torch.cat([-eye, torch.zeros_like(eye)], 1)])
