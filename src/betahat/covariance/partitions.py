"""Ways of clustering: labels become partitions of the rows, which a fit knows again."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from betahat.data.group_sums import Joint, coarser, that_count, together
from betahat.data.groups import Groups, read_groups
from betahat.data.row_codes import ReadCodes
from betahat.data.sample import COUNTS
from betahat.data.times import check_order
from betahat.errors import ClusterWarning, EstimationError, OptionError, user_level
from betahat.fits.fit import Fit
from betahat.fits.influence_sums import influence_sums
from betahat.fits.remembered import of_fit

# Below this many clusters the normal distribution, and t with G - 1, reject far too often.
_FEW = 10


def groups_of(fit: Fit, given: Any, option: str) -> tuple[Groups, ...]:
    """Read the ways of clustering; a partition that the fit has met before is the same object, so that its sums are not taken again."""
    ways = tuple(_first_met(fit, _counting(fit, way)) for way in read_groups(fit.sample, given, option))
    for way in ways:
        if way.count < 2:
            raise EstimationError(
                f"{way.name} has only one cluster, so nothing varies between clusters; pass labels of two or more."
            )
    return ways


def group_of(fit: Fit, given: Any, option: str) -> Groups:
    """Read one partition of the rows, as `groups_of`."""
    ways = groups_of(fit, given, option)
    if len(ways) != 1:
        raise OptionError(f"{option} has {len(ways)} columns; pass one.")
    return ways[0]


def time_of(fit: Fit, given: Any) -> Groups:
    """Read the periods of the rows, as `groups_of`, in the order of time."""
    times = group_of(fit, given, "time")
    check_order(times)
    return times


def _counting(fit: Fit, groups: Groups) -> Groups:
    """Drop groups all of whose rows have frequency weight zero; their rows join the first group that is left, where they change nothing."""
    if COUNTS not in fit.sample.source.shapes:
        return groups
    if groups.of_rows.held is None:
        there = that_count(fit.sample, groups)
        if bool(there.all()):
            return groups
    else:
        counts = fit.sample.column(COUNTS)
        if bool(counts.all()):
            return groups
        there = torch.zeros(groups.count, dtype=torch.bool, device=counts.device).index_fill_(
            0, groups.codes[counts > 0], True
        )
    table = (there.cumsum(0) - 1).clamp_min(0)
    learnt = groups.learnt_sizes
    sizes = None if learnt is None else learnt.new_zeros(int(there.sum())).index_add_(0, table, learnt)
    return replace(
        groups,
        of_rows=groups.of_rows.mapped(table),
        count=int(there.sum()),
        labels=groups.labels[there.cpu().numpy()],
        learnt_sizes=sizes,
    )


def _first_met(fit: Fit, groups: Groups) -> Groups:
    """Return the first groups of this partition that the fit has met."""
    met = _met(fit)
    for other in met:
        same = other.count == groups.count and other.name == groups.name and other.labels.equals(groups.labels)
        if same and other.of_rows.same(groups.of_rows):
            return other
    met.append(groups)
    return groups


@of_fit
def _met(fit: Fit) -> list[Groups]:
    """Return the partitions that the fit has met, to which others are added."""
    return []


@of_fit
def joint(fit: Fit, chosen: tuple[Groups, ...]) -> Groups:
    """Return the intersection of some ways, of the rows that count."""
    return chosen[0] if len(chosen) == 1 else _counting(fit, together(fit.sample, chosen))


def sum_finest(fit: Fit, ways: tuple[Groups, ...]) -> None:
    """Take the sums over several ways and some of their intersections from those over the finest one."""
    finest = joint(fit, ways)
    sums = influence_sums(fit, finest)
    made = finest.of_rows.made if isinstance(finest.of_rows, ReadCodes) else None
    for size in range(1, len(ways)):
        for some in itertools.combinations(range(len(ways)), size):
            chosen = tuple(ways[i] for i in some)
            if isinstance(made, Joint):
                groups, codes = coarser(finest, made, ways, some)
                joint.learn(groups, fit, chosen)
            else:
                groups = joint(fit, chosen)
                codes = _coarser(fit, finest, groups)
            added = sums.new_zeros(groups.count, sums.shape[1]).index_add_(0, codes, sums)
            influence_sums.learn(added, fit, groups)


def _coarser(fit: Fit, finest: Groups, groups: Groups) -> Tensor:
    """Return (m,) the group that each of the finest lies in, of the rows that count."""
    counts = fit.sample.counts
    there = slice(None) if counts is None else counts > 0
    codes = torch.empty(finest.count, dtype=torch.int64, device=finest.codes.device)
    codes[finest.codes[there]] = groups.codes[there]
    return codes


def warn_of_clusters(ways: Sequence[Groups], kind: str) -> None:
    """Warn where clusters are too few for the normal distribution, or hold a single row each."""
    for way in ways:
        single = int((way.sizes == 1).sum())
        if (kind not in ("CR2", "CR3") or len(ways) > 1) and way.count < _FEW:
            warnings.warn(
                f"{way.name} has {way.count} clusters, so few that these tests reject too often; use kind='CR2' in one way, whose degrees "
                "of freedom know it, or use_t=True.",
                ClusterWarning,
                stacklevel=user_level(),
            )
        if single:
            every = (
                "each of them, so that this is a covariance of single rows, HC0 say"
                if single == way.count
                else str(single)
            )
            warnings.warn(
                f"{way.name} has {way.count} clusters, and a single row in {every}; check that these are the labels you meant.",
                ClusterWarning,
                stacklevel=user_level(),
            )
