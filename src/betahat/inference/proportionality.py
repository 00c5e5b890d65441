"""Tests of proportional hazards: whether coefficients change with time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from betahat.calculus.partial_likelihood import PartialRows, partial_rows
from betahat.calculus.rows import Rows
from betahat.errors import DataError, EstimationError, counted
from betahat.fits.fit import Fit
from betahat.inference.distribution import chi2_tail

# A pivot below this share of the information is rounding: the coefficient's course says nothing that the others' do not.
_SINGULAR = 1e-10


@dataclass(frozen=True)
class ProportionalityTest:
    """Score tests of coefficients b + c g(t) against b, g a function of time.

    Attributes
    ----------
    names : tuple of str
        The terms, and GLOBAL for all of them.
    statistics, pvalues : tuple of float
        Chi-squared, and its upper tail.
    df : tuple of int
        The coefficients of each.
    """

    names: tuple[str, ...]
    statistics: tuple[float, ...]
    pvalues: tuple[float, ...]
    df: tuple[int, ...]


def proportionality(
    fit: Fit, terms: Mapping[str, Sequence[int]], transform: Callable[[PartialRows], Tensor]
) -> ProportionalityTest:
    """Test each term's coefficients, those at the positions given, and all of them; `transform` gives g at the ties with events.

    Grambsch and Therneau (1994), Biometrika 81(3), whose approximation is that the information is the same at each event; here it is each event's own,
    as in R's ``cox.zph`` since version 3 of survival.
    """
    (found,) = fit.problem.each(partial(_sums, transform), fit.point)
    score, plain, mixed, squares = found
    # of each coefficient in its own units
    scale = squares.diagonal().clamp_min(torch.finfo(torch.float64).tiny).sqrt()
    left = (squares - mixed @ torch.linalg.solve(plain, mixed)) / scale / scale[:, None]
    score = score / scale
    names, statistics, pvalues, df = [], [], [], []
    every = [place for places in terms.values() for place in places]
    for name, places in [*terms.items(), ("GLOBAL", every)]:
        some = list(places)
        lower, failed = torch.linalg.cholesky_ex(left[some][:, some])
        if bool(failed) or not bool(lower.diagonal().square().min() > _SINGULAR):
            raise EstimationError(
                f"The coefficients of {name} cannot be told from ones that change with the function of time; there are too few times of events, so "
                "use fewer regressors, or another transform."
            )
        half = torch.linalg.solve_triangular(lower, score[some, None], upper=False)
        names.append(name)
        statistics.append(float(half.square().sum()))
        df.append(len(some))
        pvalues.append(chi2_tail(statistics[-1], float(len(some))))
    return ProportionalityTest(tuple(names), tuple(statistics), tuple(pvalues), tuple(df))


def _sums(transform: Callable[[PartialRows], Tensor], rows: Rows) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return (k,) the score of c at zero, and (k, k) the information of b, of b and c, and of c."""
    read = partial_rows(rows)
    here = read.here
    values = transform(read)
    bad = int((~torch.isfinite(values)).sum())
    if bad:
        raise DataError(
            f"The function of time is missing or infinite at {counted(bad, 'time')} of events, as a logarithm is at zero; use transform='rank', say."
        )
    events, tie = here.of_events
    often = here.event[events] if here.counts is None else here.event[events] * here.counts[events]
    score = (here.x[events] - here.event_mean[tie]).mT @ (often * values[tie])
    return score, here.information(), here.information_times(values), here.information_times(values.square())


def identity(rows: PartialRows) -> Tensor:
    """Return (m,) the times of ties with events."""
    sets = rows.sets
    return sets.sorted(rows.block["endog"])[sets.ends[rows.here.tied] - 1].to(torch.float64)


def logarithm(rows: PartialRows) -> Tensor:
    """Return (m,) the logarithms of the times."""
    return identity(rows).log()


def rank(rows: PartialRows) -> Tensor:
    """Return (m,) the mean ranks of the times among those of all rows."""
    every, values = rows.sets.sorted(rows.block["endog"]), identity(rows)
    often = _often(rows)
    from_then, later = _from(every, often, values), _from(every, often, values, after=True)
    return often.sum() - from_then + 0.5 * (from_then - later + 1.0)


def kaplan_meier(rows: PartialRows) -> Tensor:
    """Return (m,) one less the share that survives until just before the times, by Kaplan and Meier, all strata together."""
    times, count = _events(rows)
    values, places = torch.unique(times, return_inverse=True)
    events = torch.zeros_like(values).index_add_(0, places, count)
    often = _often(rows)
    at_risk = _from(rows.sets.sorted(rows.block["endog"]), often, values)
    if rows.sets.late is not None:
        at_risk = at_risk - _from(rows.sets.sorted(rows.block["entry"]), often, values)
    survival = torch.cumprod(1.0 - events / at_risk, 0)
    return 1.0 - torch.nn.functional.pad(survival[:-1], (1, 0), value=1.0)[places]


def _events(rows: PartialRows) -> tuple[Tensor, Tensor]:
    """Return (m,) the times of ties with events, and how many events each has."""
    here = rows.here
    count = here.happened if here.counts is None else here.happened * here.counts
    return identity(rows), here.by_tie(count)[here.tied]


def _often(rows: PartialRows) -> Tensor:
    """Return (n,) how often each sorted row counts."""
    return torch.ones_like(rows.here.index) if rows.here.counts is None else rows.here.counts.to(torch.float64)


def _from(times: Tensor, often: Tensor, values: Tensor, *, after: bool = False) -> Tensor:
    """Return (u,) how many rows have a time of (u,) values or later, or only `after` them."""
    times, order = torch.sort(times.to(values))
    before = torch.nn.functional.pad(often[order].cumsum(0), (1, 0))
    return before[-1] - before[torch.searchsorted(times, values, right=after)]


TRANSFORMS = {"km": kaplan_meier, "rank": rank, "identity": identity, "log": logarithm}
