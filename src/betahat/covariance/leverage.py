"""What clusters' adjustments need of a fit's rows: CR2 and CR3 of any model."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from betahat.calculus.index import IndexRows, index_rows
from betahat.calculus.rows import Rows, root_of_counts, rotated_scores, times
from betahat.covariance.satterthwaite import (
    Adjusted,
    ClusterHats,
    fully_adjusted,
    half_adjusted,
    half_adjusted_pairs,
    half_adjusted_rows,
)
from betahat.data.blocks import group_grams
from betahat.data.groups import Groups
from betahat.fit import Fit
from betahat.objectives.base import LinearIndex
from betahat.objectives.gaussian import Gaussian
from betahat.solvers.memory import check_numbers_fit


def score_sums(fit: Fit, groups: Groups) -> Tensor:
    """Return (G, k) the sums of scores over groups, or (G, r) in Z's coordinates as `Rows.meat`.

    All scores sum to the gradient of a penalty, and so they are taken about their mean where there is one.
    """

    def compute() -> Tensor:
        function = _counted_scores if fit.well_conditioned else rotated_scores
        sums = fit.sum_groups(groups.codes, groups.count, function)
        return sums if fit.problem.penalty is None else sums - sums.mean(0)

    return fit.once(("scores", groups), compute)


def rotated_sums(fit: Fit, groups: Groups) -> Tensor:
    """Return (G, r) the sums of scores over groups in Z's coordinates."""
    scores = score_sums(fit, groups)
    return scores @ fit.root if fit.well_conditioned else scores


def half(fit: Fit, groups: Groups, target: str) -> Adjusted:
    """Return CR2: from r x r products where whitened errors have one variance, else cluster by cluster.

    Parameters
    ----------
    fit : Fit
        Of any model whose rows have leverage.
    groups : Groups
        The clusters.
    target : {"identity", "inverse_weights"}
        The errors' covariance, of weighted least squares; a generalized linear model has its variance function.
    """
    return fit.once(("half", target, groups), lambda: _half(fit, groups, target))


def full(fit: Fit, groups: Groups, target: str = "inverse_weights") -> Adjusted:
    """Return CR3, whose scores in Z's coordinates are the steps to the fits without each cluster; see `half`."""

    def compute() -> Adjusted:
        if _homoskedastic(fit, target):
            hats = _paired_hats(fit, groups)
            return fully_adjusted(hats, hats.grams[:, : fit.rank, fit.rank :])
        hats = whitened_hats(fit, groups)
        return fully_adjusted(hats, hats.grams)

    return fit.once(("full", target, groups), compute)


def _half(fit: Fit, groups: Groups, target: str) -> Adjusted:
    objective = fit.objective
    if _homoskedastic(fit, target):
        width, pieces = fit.rank, list(_clusters(fit, groups, _pairs))
        squares = sum(
            (part[:, width:-1].mT @ part[:, width:-1] for part in pieces), torch.zeros(width, width).to(fit.root)
        )
        return half_adjusted_pairs(((part[:, :-1], part[:, -1]) for part in pieces), _middle(squares), fit.root)
    varies = isinstance(objective, LinearIndex) and objective.variance(fit.params[:1]) is not None
    if not varies and not _weighted(fit):
        return half_adjusted(whitened_hats(fit, groups))
    check_numbers_fit(4 * int(groups.sizes.max()) ** 2, "The leverages of the largest cluster", fit.params.device)
    whitened = _clusters(fit, groups, _whitened)
    return half_adjusted_rows(((part[:, :-2], part[:, -2], part[:, -1]) for part in whitened), fit.root)


def _weighted(fit: Fit) -> bool:
    return isinstance(fit.objective, LinearIndex) and fit.design.weights is not None


def _homoskedastic(fit: Fit, target: str) -> bool:
    """Tell whether weights are there, and are not to be taken for inverse variances."""
    return target == "identity" and isinstance(fit.objective, Gaussian) and _weighted(fit)


def _pairs(rows: Rows) -> Tensor:
    """Return (b, 2 r + 1) [U, W U, e] of weighted least squares; rows of weight zero are zero."""
    block = index_rows(rows)
    weights = block.weights
    assert weights is not None
    used = weights > 0
    errors = torch.where(used, block.residual / weights, 0.0)
    return torch.cat([times(block.rotated, used.to(weights)), times(block.rotated, weights), errors[:, None]], 1)


def _whitened(rows: Rows) -> Tensor:
    """Return (b, r + 2) [U, e, f], e whitened and f the errors' variance; rows without information are zero."""
    block = index_rows(rows)
    hats = block.hat_rows[:, 0]
    curvature = torch.ones_like(block.residual) if block.curvature is None else block.curvature
    used = hats.any(1)
    beside = torch.stack([block.residual * curvature.rsqrt(), _variance(block)], 1)
    return torch.cat([hats, torch.where(used[:, None], beside, 0.0)], 1)


def _variance(block: IndexRows) -> Tensor:
    variance = block.objective.variance(block.index)
    plain = torch.ones_like(block.residual) if variance is None else variance
    return plain if block.weights is None else plain / block.weights


def _clusters(fit: Fit, groups: Groups, function: Callable[[Rows], Tensor]) -> Iterator[Tensor]:
    """Yield `function(rows)` of one cluster after the other, rows as often as they count and those of zeros left out."""
    order = torch.argsort(groups.codes, stable=True)
    parts, codes, counts = torch.cat(list(fit.each_in(order, function))), groups.codes[order], fit.design.counts
    if counts is not None:
        often = counts[order].long()
        parts, codes = parts.repeat_interleave(often, 0), codes.repeat_interleave(often)
    used = parts.any(1)
    sizes = torch.bincount(codes[used], minlength=groups.count)
    return iter(part for part in torch.split(parts[used], sizes.tolist()) if len(part))


def whitened_hats(fit: Fit, groups: Groups) -> ClusterHats:
    """Return what adjustments need, the errors' covariance being what the weights or the curvature say."""

    def compute() -> ClusterHats:
        grams = _grams(fit, groups, lambda rows: times(rows.hat_rows, root_of_counts(rows.counts)), fit.rank)
        eye = torch.eye(fit.rank).to(fit.root)
        return ClusterHats(grams, rotated_sums(fit, groups), -eye, eye, fit.root)

    return fit.once(("hats", groups), compute)


def _paired_hats(fit: Fit, groups: Groups) -> ClusterHats:
    """Return the same of weighted least squares whose errors have one variance."""
    width, eye = fit.rank, torch.eye(fit.rank).to(fit.root)
    grams = _grams(fit, groups, lambda rows: _pairs(rows)[:, None], 2 * width + 1)
    squares = grams[:, width:-1, width:-1].sum(0)
    pick = torch.cat([torch.zeros_like(eye), eye])
    return ClusterHats(grams[:, :-1, :-1], grams[:, :-1, -1], _middle(squares), pick, fit.root)


def _middle(squares: Tensor) -> Tensor:
    """Return C = [[Q, -I], [-I, 0]]."""
    eye = torch.eye(len(squares)).to(squares)
    return torch.cat([torch.cat([squares, -eye], 1), torch.cat([-eye, torch.zeros_like(eye)], 1)])


def _grams(fit: Fit, groups: Groups, function: Callable[[Rows], Tensor], width: int) -> Tensor:
    """Return (G, p, p) the clusters' sums of products of `function(rows)`, (b, m, p), taking the rows cluster by cluster."""
    check_numbers_fit(4 * groups.count * width**2, f"The leverages of {groups.count} clusters", fit.params.device)
    order, start = torch.argsort(groups.codes, stable=True), 0
    sums = fit.root.new_zeros(groups.count, width, width)
    for part in fit.each_in(order, function):
        codes = groups.codes[order[start : start + len(part)]]
        group_grams(part.flatten(0, 1), codes.repeat_interleave(part.shape[1]), sums)
        start += len(part)
    return sums


def _counted_scores(rows: Rows) -> Tensor:
    return times(rows.scores(), rows.counts)
