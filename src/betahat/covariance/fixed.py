"""Coefficients that one cluster alone fixes, such as its own dummy's: their scores sum to zero in each cluster, and so do their variances."""

from __future__ import annotations

import torch
from torch import Tensor

from betahat.calculus.rows import Rows, rotated_scores
from betahat.covariance.leverage import rotated_sums
from betahat.data.groups import Groups
from betahat.fit import Fit
from betahat.solvers.lengths import lengths

# Sums of scores that cancel do so to rounding, and to the optimum's tolerance, of the largest.
_STILL = 1e-8
# So small a share of a direction's squared scores outside of one cluster is rounding, of directions that are known to 1e-8.
_OUTSIDE = 1e-12
# A coefficient of which a direction has a smaller share than this is not part of it.
_PART = 1e-6
# As many rows show where a direction has scores; what they show of more is looked at in all of them.
_LOOKED_AT = 2**14


def fixed_coefficients(fit: Fit, groups: Groups) -> list[str]:
    """Return the names of the coefficients that cannot be estimated without some one cluster.

    Their direction v has scores in one cluster only, where they sum to zero since all scores do: so v is in the null space of the
    clusters' sums, which are there anyway. Where there are more coefficients than clusters that space is never empty, and rows tell.
    """
    sums = rotated_sums(fit, groups)
    basis = torch.linalg.eigh(sums.mT @ sums).eigenvectors
    sizes = torch.linalg.vector_norm(sums @ basis, dim=0)
    still = basis[:, sizes <= _STILL * sizes.max()]
    if fit.rank >= groups.count and still.shape[1] > 0:
        still = _of_one_cluster(fit, groups, still, still.shape[1] - (fit.rank - groups.count + 1))
    if still.shape[1] == 0:
        return []
    shares = lengths(fit.root @ still) / lengths(fit.root)
    return [name for name, share in zip(fit.coefficients, shares.tolist(), strict=True) if share > _PART]


def _of_one_cluster(fit: Fit, groups: Groups, still: Tensor, sure: int) -> Tensor:
    """Return (r, c) the directions within (r, m) `still` that have scores in one cluster only, of which `sure` ones are known to be there."""
    every = -(-len(groups.codes) // _LOOKED_AT)
    places = torch.arange(0, len(groups.codes), every, device=groups.codes.device)
    scores = torch.cat([part @ still for part in fit.each_in(places, rotated_scores)])
    products = scores.new_zeros(groups.count, still.shape[1], still.shape[1])
    for code in range(groups.count):  # at most as many as coefficients
        own = scores[groups.codes[places] == code]
        products[code] = own.mT @ own
    outside = products.sum(0) - products
    spectrum, vectors = torch.linalg.eigh(outside)
    largest = products.sum(0).diagonal().max()
    lone = spectrum <= _OUTSIDE * largest
    found = still @ torch.cat([vector[:, held] for vector, held in zip(vectors, lone, strict=True)], 1)
    if every == 1 or found.shape[1] in (0, sure):
        return found

    def squares(rows: Rows) -> Tensor:
        return (rotated_scores(rows) @ found).square()

    spread = fit.sum_groups(groups.codes, groups.count, squares)
    return found[:, spread.sum(0) - spread.amax(0) <= _OUTSIDE * every * largest]
