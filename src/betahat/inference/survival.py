"""What follows from a fit of proportional hazards: the baseline hazard, residuals, predicted survival and concordance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from betahat.calculus.partial_likelihood import PartialRows, partial_rows
from betahat.calculus.rows import Rows, times
from betahat.data.risk_sets import times_of
from betahat.fits.fit import Fit
from betahat.fits.remembered import of_fit
from betahat.lazy import lazily

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazily("pandas")


@dataclass(frozen=True, eq=False)
class Baseline:
    """The cumulative hazard of a row with x'b + offset = 0, at the times of events.

    Attributes
    ----------
    stratum : Tensor
        (m,) the position of each time's stratum.
    time : Tensor
        (m,) ascending in each stratum.
    growth : Tensor
        (m,) by how much the cumulative hazard grows there: the number of events over the sum of exp(x'b + offset) of the rows at risk, or Efron's.
    hazard : Tensor
        (m,) the cumulative hazard there, this growth included.
    mean : Tensor
        (m, k) the mean of the regressors over the rows at risk, weighted by exp(x'b + offset).
    """

    stratum: Tensor
    time: Tensor
    growth: Tensor
    hazard: Tensor
    mean: Tensor

    def at(self, times: Tensor, stratum: Tensor) -> Tensor:
        """Return (q,) the cumulative hazard at (q,) times in (q,) strata; NaN in those that have no events."""
        count = len(self.time)
        both = times_of(torch.cat([self.time, times.to(self.time)]), None)
        keys, _ = both.keys(torch.cat([self.stratum, stratum]))
        own, asked = keys[:count], keys[count:]
        order = torch.argsort(own)
        place = torch.searchsorted(own[order], asked.contiguous())
        reached = order[place.clamp_max(count - 1)]
        same = (place < count) & (self.stratum[reached] == stratum)
        there = torch.isin(stratum, self.stratum)
        found = torch.where(same, self.hazard[reached], torch.zeros_like(self.hazard[reached]))
        return torch.where(there, found, torch.nan)


@dataclass(frozen=True, eq=False)
class StepFunction:
    """The cumulative hazard at any time, given that at the times of events."""

    triple: tuple[Any, Any, Any]

    def __call__(self, times: Any) -> np.ndarray:
        """Return (m,) the cumulative hazard at (m,) times."""
        time, hazard = (np.asarray(torch.as_tensor(part).cpu()) for part in self.triple[:2])
        place = np.searchsorted(time, np.asarray(times, dtype=float), side="right")
        return np.concatenate([[0.0], hazard])[place]


@dataclass(frozen=True, eq=False, repr=False)
class HazardPrediction:
    """Predictions of proportional hazards, with statsmodels' names.

    Attributes
    ----------
    predicted_values : array
        (m,) x'b + offset ("lhr"), its exponential ("hr"), the cumulative hazard ("cumhaz") or the share that survives ("surv").
    standard_errors : array or None
        (m,) the standard errors of "lhr", and of "hr" by the delta method; of the others None, as they take the variance of the baseline hazard.
    """

    predicted_values: Any
    standard_errors: Any = None

    def summary_frame(self) -> pd.DataFrame:
        """Return what there is, one row for each prediction.

        Returns
        -------
        pandas.DataFrame
            (m, 2), or (m, 1) without standard errors.
        """
        columns = {"predicted_values": self.predicted_values, "standard_errors": self.standard_errors}
        labels = self.predicted_values.index if isinstance(self.predicted_values, pd.Series) else None
        return pd.DataFrame(
            {
                name: np.asarray(torch.as_tensor(values).cpu()) if labels is None else values
                for name, values in columns.items()
                if values is not None
            },
            index=labels,
        )

    def __repr__(self) -> str:
        """Return the frame as text."""
        return str(self.summary_frame())


@of_fit
def baseline(fit: Fit) -> Baseline:
    """Return the baseline hazard, R's ``basehaz(centered = FALSE)``."""
    (found,) = fit.problem.each(_baseline, fit.point)
    return found


def _baseline(rows: Rows) -> Baseline:
    read = partial_rows(rows)
    here, sets, centre = read.here, read.sets, read.centre
    stratum = sets.stratum[here.tied]
    ends = sets.ends[here.tied] - 1
    top = here.top.expand(len(here.index))[ends]
    # the index is of x less its mean in the stratum
    growth = here.ties.hazard * torch.exp(-(top + centre[stratum] @ read.at.params))
    cumulated = sets.ties_by_stratum(here.tied).remaining(growth)  # of descending times
    time = sets.sorted(read.block["endog"])[ends]
    order = torch.argsort(time, stable=True)
    order = order[torch.argsort(stratum[order], stable=True)]
    mean = here.mean + centre[stratum]
    return Baseline(*(part[order] for part in (stratum, time, growth, cumulated, mean)))


def martingale_residuals(fit: Fit) -> Tensor:
    """Return (n,) d - exp(x'b + offset) (L(endog) - L(entry)), events less what the model expects; NaN for rows of weight zero."""
    return fit.map_rows(_martingale)


def deviance_residuals(fit: Fit) -> Tensor:
    """Return (n,) the signed roots of -2 (m + d log(d - m)), m the martingale residual and d 1 for an event."""
    residual = martingale_residuals(fit)
    status = fit.design.column("status") if "status" in fit.design.source.shapes else torch.ones_like(residual)
    squares = -2.0 * (residual + torch.special.xlogy(status, status - residual))
    signed: Tensor = residual.sign() * squares.clamp_min(0.0).sqrt()
    return signed


def score_residuals(fit: Fit) -> Tensor:
    """Return (n, k) Lin and Wei's score residuals, without case weights; NaN for rows of weight zero."""
    return fit.map_rows(lambda rows: times(rows.scores(), _per_weight(partial_rows(rows))))


def schoenfeld_residuals(fit: Fit) -> Tensor:
    """Return (n, k) the regressors of rows with an event less their mean over the rows at risk; NaN for censored rows."""
    return fit.map_rows(_schoenfeld)


def _per_weight(rows: PartialRows) -> Tensor | None:
    weights = rows.block.get("weights")
    return None if weights is None else torch.where(weights > 0, weights.reciprocal(), torch.nan)


def _martingale(rows: Rows) -> Tensor:
    read = partial_rows(rows)
    return times(read.sets.unsorted(read.here.martingale), _per_weight(read))


def _schoenfeld(rows: Rows) -> Tensor:
    read = partial_rows(rows)
    here = read.here
    events, tie = here.of_events
    found = torch.full_like(here.x, torch.nan)
    found[events] = here.x[events] - here.event_mean[tie]
    return read.sets.unsorted(found)


@dataclass(frozen=True)
class Sizes:
    """How many rows and strata there are.

    Attributes
    ----------
    informative : float
        The rows that are at risk at the time of some event.
    late : float
        The rows whose entry is later than zero.
    has_entries : bool
        Whether there are times of entry.
    strata : int
        The strata; 0 where there are none.
    smallest, largest : float
        The rows in the smallest and the largest of them.
    without_events : int
        The strata without an event.
    """

    informative: float
    late: float
    has_entries: bool
    strata: int
    smallest: float
    largest: float
    without_events: int


def sizes(fit: Fit) -> Sizes:
    """Return how many rows and strata there are, each row as often as its frequency weight says."""
    (found,) = fit.problem.each(_sizes, fit.point)
    return found


def _sizes(rows: Rows) -> Sizes:
    read = partial_rows(rows)
    here, sets = read.here, read.sets
    count = torch.ones_like(here.index) if here.counts is None else here.counts
    strata, time = sets.strata, sets.sorted(read.block["endog"])
    entry = None if "entry" not in read.block.columns else sets.sorted(read.block["entry"])
    events = time[sets.ends[here.tied] - 1]
    first = time.new_full((len(strata.sizes),), torch.inf).scatter_reduce_(0, sets.stratum[here.tied], events, "amin")
    last = time.new_full((len(strata.sizes),), -torch.inf).scatter_reduce_(0, sets.stratum[here.tied], events, "amax")
    there = time >= first[strata.of_rows]
    if entry is not None:
        there &= entry <= last[strata.of_rows]
    of_strata = torch.zeros_like(first, dtype=count.dtype).index_add_(0, strata.of_rows, count)
    stratified = "stratum" in read.block.columns
    return Sizes(
        informative=float((count * there).sum()),
        late=0.0 if entry is None else float((count * (entry > 0)).sum()),
        has_entries=entry is not None,
        strata=len(of_strata) if stratified else 0,
        smallest=float(of_strata.min()),
        largest=float(of_strata.max()),
        without_events=int((last == -torch.inf).sum()),
    )
