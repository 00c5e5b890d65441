"""Concordance: how often the row that has an event first is the one with the larger index."""

from __future__ import annotations

import torch
from torch import Tensor

from betahat.calculus.partial_likelihood import partial_rows
from betahat.calculus.rows import Rows, times
from betahat.fits.fit import Fit

# Indices that differ by less than this share of the largest are equal, up to rounding.
_EQUAL = 1e-12


def concordance(fit: Fit) -> float:
    """Return the share of pairs, one with an event and one at risk that goes on without, of which the first has the larger index.

    Equal indices count a half; pairs are of one stratum, and weigh the product of their rows' weights. Harrell, Lee and Mark (1996), Stat. Med.
    15(4); R's ``concordance``.
    """
    return float(fit.sum_rows(_concordance))


def _concordance(rows: Rows) -> Tensor:
    read = partial_rows(rows)
    here, sets = read.here, read.sets
    stratum, group = sets.strata.of_rows, sets.group
    rank = _ranks(here.index + (read.centre @ read.at.params)[stratum])
    weight = times(torch.ones_like(here.index), here.weights, here.counts)
    event = torch.ones_like(group) if here.status is None else (here.status > 0).long()
    asked = event.nonzero().flatten()
    first, bound = sets.strata.starts[stratum[asked]], rank[asked]
    tie = group[asked]
    # those who go on come first: of a time, the censored ones
    order = torch.argsort(2 * group + event, stable=True)
    last = sets.ends - torch.zeros_like(sets.ends).index_add_(0, group, event)
    counts = _three_counts(rank[order], weight[order], first, last[tie], bound)
    if sets.late is not None:
        late = sets.late
        counts = counts - _three_counts(rank[late.order], weight[late.order], first, late.waiting[tie], bound)
    below, not_above, all_of_them = counts @ weight[asked]
    share: Tensor = 0.5 * (below + not_above) / all_of_them
    return share


def _ranks(index: Tensor) -> Tensor:
    """Return (n,) ranks 0, 1, ... of (n,) numbers, the same for those that are equal up to rounding."""
    values, order = torch.sort(index)
    apart = values.diff() > _EQUAL * values.abs().max()
    ranks = torch.nn.functional.pad(apart.cumsum(0), (1, 0))
    return torch.empty_like(ranks).index_copy_(0, order, ranks)


def _three_counts(ranks: Tensor, weights: Tensor, start: Tensor, stop: Tensor, bound: Tensor) -> Tensor:
    """Return (3, q) the weights of the rows from `start` to `stop` whose ranks are below (q,) `bound`, not above it, and any."""
    top = torch.full_like(bound, int(ranks.max()) + 1)
    bounds = torch.cat([bound, bound + 1, top])
    return _weight_below(ranks, weights, start.repeat(3), stop.repeat(3), bounds).view(3, -1)


def _weight_below(ranks: Tensor, weights: Tensor, start: Tensor, stop: Tensor, bound: Tensor) -> Tensor:
    """Return (q,) the weights of the rows from `start` to `stop` whose ranks are below `bound`, by a wavelet matrix: a pass for each bit.

    Claude, Navarro and Ordonez (2015), Information Systems 47.
    """
    found = weights.new_zeros(len(bound))
    for bit in reversed(range(int(bound.max()).bit_length())):
        zero = (ranks >> bit) & 1 == 0
        count = torch.nn.functional.pad(zero.cumsum(0), (1, 0))
        mass = torch.nn.functional.pad((weights * zero).cumsum(0), (1, 0))
        high = (bound >> bit) & 1 == 1
        found += (mass[stop] - mass[start]) * high
        zeros = count[-1]
        start = torch.where(high, zeros + start - count[start], count[start])
        stop = torch.where(high, zeros + stop - count[stop], count[stop])
        order = torch.cat([zero.nonzero().flatten(), (~zero).nonzero().flatten()])
        ranks, weights = ranks[order], weights[order]
    return found
