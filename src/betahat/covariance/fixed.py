"""Coefficients that one cluster alone fixes, such as its own dummy's: their scores sum to zero in each cluster, and so do their variances."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from betahat.calculus.rows import Rows, counted_influence
from betahat.data.groups import Groups
from betahat.data.products import group_grams
from betahat.errors import ClusterWarning, listed, user_level
from betahat.fits.fit import Fit
from betahat.fits.influence_sums import influence_sums
from betahat.solvers.lengths import lengths

# Sums of scores that cancel do so to rounding, and to the optimum's tolerance, of the largest.
_STILL = 1e-8
# So small a share of a direction's squared scores outside of one cluster is rounding, of directions that are known to 1e-8.
_OUTSIDE = 1e-12
# An eigenvalue of one is known to the rounding of products whose sizes differ by 1e8.
_WHOLE = 1e-8
# A coefficient of which a direction has a smaller share than this is not part of it.
_PART = 1e-6
# As many rows show where a direction has scores; what they show of more is looked at in all of them.
_LOOKED_AT = 2**14
# Clusters' products of so many numbers are taken at once.
_NUMBERS = 2**24


def warn_of_fixed(fit: Fit, groups: Groups, *, known: bool = False, tests: str = "tests reject too often") -> None:
    """Warn of coefficients that one cluster alone determines; `known` says that there are some, `tests` how their tests err."""
    names = fixed_coefficients(fit, groups)
    if not names and not known:
        return
    which = (
        f"the coefficient of {listed(names)}"
        if len(names) == 1
        else f"the coefficients of {listed(names)}"
        if names
        else "a coefficient"
    )
    warnings.warn(
        f"One cluster of {groups.name} alone fixes {which}, as it does its own dummy, or the effect of a treatment that no other cluster has, so "
        f"that the standard error says nothing and {tests}; those of the others are right. Report only these, as of fixed effects, or join "
        "clusters.",
        ClusterWarning,
        stacklevel=user_level(),
    )


def fixed_coefficients(fit: Fit, groups: Groups) -> list[str]:
    """Return the names of the coefficients that cannot be estimated without some one cluster.

    Their direction v has scores in one cluster only, where they sum to zero since all scores do: so v is in the null space of the
    clusters' sums, which are there anyway. Where it is not empty, rows tell whose directions there are in it: none where there are more
    coefficients than clusters, or where the means of clusters were taken off.
    """
    if fit.objective.moments is not None:  # whose sums are not in the directions of the parameters
        return []
    sums = influence_sums(fit, groups)
    basis = torch.linalg.eigh(sums.mT @ sums).eigenvectors
    sizes = torch.linalg.vector_norm(sums @ basis, dim=0)
    still = basis[:, sizes <= _STILL * sizes.max()]
    if still.shape[1] == 0 or not bool(sizes.any()):  # a perfect fit has no scores
        return []
    still = _of_one_cluster(fit, groups, still)
    if still.shape[1] == 0:
        return []
    shares = lengths(fit.root @ still) / lengths(fit.root)
    return [name for name, share in zip(fit.coefficients, shares.tolist(), strict=True) if share > _PART]


def _of_one_cluster(fit: Fit, groups: Groups, still: Tensor) -> Tensor:
    """Return (r, c) the directions within (r, m) `still` that have scores in one cluster only."""
    rows = fit.sample.rows
    every = -(-rows // _LOOKED_AT)
    places = torch.arange(0, rows, every, device=fit.params.device)
    codes, order = torch.sort(groups.of_rows.at(places), stable=True)
    places = places[order]
    scores = torch.cat([part @ still for part in fit.each_in(places, counted_influence)])
    spectrum, vectors = torch.linalg.eigh(scores.mT @ scores)
    seen = spectrum > _OUTSIDE * spectrum[-1]
    white: Tensor = vectors[:, seen] * spectrum[seen].rsqrt()  # in which the products of all rows are the identity
    lone = _whole(scores @ white, codes, groups.count)
    found: Tensor = still @ torch.cat([white @ lone, vectors[:, ~seen]], 1)
    found = found / torch.linalg.vector_norm(found, dim=0)
    if every == 1 or found.shape[1] == 0:
        return found

    def squares(rows: Rows) -> Tensor:
        return (counted_influence(rows) @ found).square()

    spread = fit.sum_groups(groups.of_rows, groups.count, squares)
    return found[:, spread.sum(0) - spread.amax(0) <= _OUTSIDE * every * spectrum[-1]]


def _whole(rows: Tensor, codes: Tensor, count: int) -> Tensor:
    """Return (m, c) the directions of which one cluster's rows, (b, m) sorted by cluster, have all: their products have the eigenvalue one."""
    width = rows.shape[1]
    parts = [rows.new_zeros(width, 0)]
    if count * width**2 <= _NUMBERS:
        products = rows.new_zeros(count, width, width)
        group_grams(rows, codes, products)
        spectrum, vectors = torch.linalg.eigh(products)
        lone = spectrum >= 1.0 - _WHOLE
        parts += [vectors[g][:, lone[g]] for g in lone.any(1).nonzero().flatten().tolist()]
        return torch.cat(parts, 1)
    for own in torch.split(rows, torch.bincount(codes, minlength=count).tolist()):
        _, values, right = torch.linalg.svd(own, full_matrices=False)
        parts.append(right[values.square() >= 1.0 - _WHOLE].mT)
    return torch.cat(parts, 1)
