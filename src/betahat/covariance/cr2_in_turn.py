"""CR2 of models whose errors' variances differ, of rows that are read in turn: three passes, in which sums over clusters are taken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from betahat.calculus.rows import Rows
from betahat.covariance.adjustments import Adjustment, half_of_sums, inverses_of, least_slack, shifted
from betahat.data.groups import Groups
from betahat.data.progress import progress
from betahat.fits.fit import Fit
from betahat.solvers.memory import check_numbers_fit
from betahat.solvers.roots import inverse_root_terms

# Sums of so many numbers are taken in a pass, and made of rows at a time; clusters with so many rows of a block are taken one by one.
_SUMS, _MADE, _MANY = 2**25, 2**20, 64
# Clusters' matrices of so many numbers are worked on at a time.
_WORKED = 2**21


@dataclass(frozen=True, eq=False)
class _Facts:
    """What the first pass tells of clusters: (G,) the largest f, (G,) the smallest over it, (G, r, r) U'U and (G, r) U'e."""

    largest: Tensor
    smallest: Tensor
    grams: Tensor
    sums: Tensor


def cr2_in_turn(fit: Fit, groups: Groups, whitened: Callable[[Rows], Tensor], grams: Tensor) -> Adjustment:
    """Return CR2 of all clusters from a function of rows, (b, r + 2) [U, e, f], and the (G, r + 1, r + 1) products of [U, e]."""
    facts = _facts(fit, groups, whitened, grams)
    least = torch.cat([least_slack(part) for part in torch.split(facts.grams, max(_WORKED // fit.rank**2, 1))])
    terms = inverse_root_terms(float((facts.smallest.square() * least).reciprocal().max())).to(fit.params)
    made = _Weighted(facts.largest, terms)
    width = made.width(fit.rank)
    check_numbers_fit(min(groups.count * width, _SUMS), "The terms of clusters", fit.params.device)
    few = max(_SUMS // width, 1)
    found: list[Adjustment] = []
    for low in progress(range(0, groups.count, few), "clusters"):
        high = min(low + few, groups.count)
        sums = fit.params.new_zeros(high - low, width)
        for values, codes in fit.each_beside(groups.of_rows, whitened):
            own = ((codes >= low) & (codes < high)).nonzero().flatten()
            made.add(values[own], codes[own], low, sums)
        some = max(_WORKED // width, 1)
        for start in range(low, high, some):
            stop = min(start + some, high)
            products, beside = made.unpacked(sums[start - low : stop - low], fit.rank)
            found.append(half_of_sums(products, beside, facts.grams[start:stop], facts.sums[start:stop], terms))
    return Adjustment(*map(torch.cat, zip(*found, strict=True)))


def _facts(fit: Fit, groups: Groups, whitened: Callable[[Rows], Tensor], products: Tensor) -> _Facts:
    largest = fit.params.new_zeros(groups.count)
    smallest = torch.full_like(largest, torch.inf)
    for values, codes in fit.each_beside(groups.of_rows, whitened):
        spread = values[:, -1]
        largest.scatter_reduce_(0, codes, spread, "amax")
        smallest.scatter_reduce_(0, codes, torch.where(spread > 0, spread, torch.inf), "amin")
    largest = torch.where(largest > 0, largest, 1.0)
    smallest = (smallest / largest).clamp_max(1.0)
    return _Facts(largest, smallest, products[:, :-1, :-1].contiguous(), products[:, :-1, -1].contiguous())


@dataclass(frozen=True, eq=False)
class _Weighted:
    """Sums over the rows of clusters of w u u' and w u e, for the weights of `half_of_sums`.

    Attributes
    ----------
    largest : Tensor
        (G,) the largest f.
    terms : Tensor
        (2, J).
    """

    largest: Tensor
    terms: Tensor

    def width(self, rank: int) -> int:
        """Return how many numbers a cluster has."""
        return (2 * self.terms.shape[1] + 2) * (rank * (rank + 3) // 2)

    def add(self, values: Tensor, codes: Tensor, low: int, sums: Tensor) -> None:
        """Add (b, r + 2) rows to the (g, ...) sums of the clusters from `low` on."""
        rank = values.shape[1] - 2
        row, column = torch.triu_indices(rank, rank, device=values.device)
        codes, order = torch.sort(codes, stable=True)
        values = values[order]
        hats, errors, spread = values[:, :-2], values[:, -2:-1], values[:, -1]
        spread = torch.where(spread > 0, spread / self.largest[codes], 1.0)
        products = torch.cat([hats[:, row] * hats[:, column], hats * errors], 1)
        weights = torch.cat([shifted(self.terms[0], self.terms[1], spread[None]), inverses_of(spread[None])], 2)[0]
        groups, sizes = torch.unique_consecutive(codes - low, return_counts=True)
        if len(codes) >= _MANY * len(groups):
            cuts = sizes.tolist()
            for group, mine, theirs in zip(
                groups.tolist(), torch.split(weights, cuts), torch.split(products, cuts), strict=True
            ):
                sums[group] += (mine.mT @ theirs).flatten()
            return
        step = max(_MADE // sums.shape[1], 1)
        for start in range(0, len(codes), step):
            part = slice(start, start + step)
            both = (weights[part, :, None] * products[part, None]).flatten(1)
            sums.index_add_(0, codes[part] - low, both)

    def unpacked(self, sums: Tensor, rank: int) -> tuple[Tensor, Tensor]:
        """Return (b, 2 J + 2, r, r) products and (b, 2 J + 2, r) what stands beside them."""
        parts = sums.view(len(sums), 2 * self.terms.shape[1] + 2, -1)
        row, column = torch.triu_indices(rank, rank, device=sums.device)
        products = sums.new_empty(*parts.shape[:2], rank, rank)
        products[:, :, row, column] = products[:, :, column, row] = parts[:, :, : len(row)]
        return products, parts[:, :, len(row) :]
